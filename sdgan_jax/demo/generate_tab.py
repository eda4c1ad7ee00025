"""The tab Generate: a face from a random seed, without and with attributes."""

from __future__ import annotations

import contextlib
from typing import Any

from sdgan_jax.demo import views, wiring
from sdgan_jax.demo.generation import Recipe
from sdgan_jax.demo.studio import Studio

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr

_ANOTHER = "() => Math.floor(Math.random() * 100000)"  # short enough to be written down
_SEED, _SECOND_SEED, _TRUNCATION = 0, 1, 0.7


def build(studio: Studio, blocks: gr.Blocks) -> None:
    """Builds the controls, inside of a tab."""
    config = studio.model.config
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            with gr.Group(), gr.Row(equal_height=True):
                seed = gr.Number(_SEED, label="Seed", precision=0, minimum=0, elem_id="seed", scale=2)
                another = gr.Button("Another face", elem_id="another", scale=1, min_width=120)
            classes = config.generator.label_dim
            label = gr.Slider(0, max(1, classes - 1), 0, step=1, label="Class", visible=bool(classes))
            strengths = [
                gr.Slider(0, 1.5, float(k == 0), step=0.05, label=name.capitalize(), elem_id=f"strength-{name}")
                for k, name in enumerate(studio.attributes)
            ]
            if line := studio.explain_missing():
                gr.HTML(views.notes([line]), padding=False)
            truncation = gr.Slider(
                0, 1.2, _TRUNCATION, step=0.05, label="Truncation", info="lower: more typical faces", elem_id="psi"
            )
            mixed = gr.Checkbox(False, label="Mix with the styles of a second face", elem_id="mix")
            with gr.Group(visible=False) as mixing:
                second = gr.Number(_SECOND_SEED, label="Second seed", precision=0, minimum=0)
                crossover = gr.Slider(
                    0,
                    config.num_layers,
                    config.num_layers // 2,
                    step=1,
                    label="Crossover layer",
                    info="layers before it are from the first face",
                )
        with gr.Column(scale=8, min_width=320):
            stage = gr.HTML(views.empty("drawing …"), elem_id="generated", elem_classes="stage", padding=False)

    def draw(*values: Any) -> str:
        return _draw(studio, *values)

    controls = [seed, label, truncation, mixed, second, crossover, *strengths]
    wiring.listen([*(control.change for control in controls), blocks.load], draw, controls, [stage], quiet=True)
    another.click(None, None, [seed], js=_ANOTHER, api_visibility="private")
    mixed.change(lambda on: gr.update(visible=on), [mixed], [mixing], api_visibility="private", show_progress="hidden")


def _draw(
    studio: Studio,
    seed: float | None,
    label: float,
    truncation: float,
    mixed: bool,
    second: float | None,
    crossover: float,
    *strengths: float,
) -> str:
    """Draws the face without and with attributes as HTML; a model without any draws one."""
    if seed is None or (mixed and second is None):
        raise ValueError("give a seed, a whole number from 0 on")
    worn = {name: value for name, value in zip(studio.attributes, strengths, strict=True) if value}
    second_seed = int(second or 0) if mixed else None
    recipe = Recipe(int(seed), worn, float(truncation), second_seed, int(crossover), int(label))
    before, after = studio.generate(recipe)
    name = "+".join(worn) or "none"
    words = " + ".join(f"{name} {value:g}" for name, value in worn.items()) or "no attribute"
    shown = [(before, f"Seed {int(seed)}"), (after, words)] if studio.attributes else [(after, f"Seed {int(seed)}")]
    return views.row(shown, f"{name}_seed{int(seed):04d}.png")
