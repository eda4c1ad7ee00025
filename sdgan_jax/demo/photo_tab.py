"""The tab Photo: faces of a photo edited with the model, or dressed in 3D."""

from __future__ import annotations

import contextlib
from typing import Any

from sdgan_jax.demo import photo_panel, stage, views, wiring
from sdgan_jax.demo.studio import Studio, default_looks
from sdgan_jax.face3d.attire import styles
from sdgan_jax.photos import editing
from sdgan_jax.photos.editing import Edit

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr

EDIT, WEAR = "edit with the model", "wear in 3D"
PUT_ON, TAKE_OFF = "put on", "take off"


def build(studio: Studio, tab: gr.Tab) -> None:
    """Builds the controls, inside of a tab."""
    modes, missing = ([EDIT, WEAR], None) if studio.attributes else ([WEAR], studio.explain_missing())
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            panel = photo_panel.build(studio, tab, "photo")
            mode = gr.Radio(modes, value=modes[0], show_label=False, container=False, elem_id="photo-mode")
            about = gr.HTML(views.notes([missing] if missing else _about(studio, modes[0])), padding=False)
            names = _names(studio, modes[0])
            attribute = gr.Radio(names, value=names[0], label="Attribute", elem_id="photo-attribute")
            edits = bool(studio.attributes)
            direction = gr.Radio(
                [PUT_ON, TAKE_OFF], value=PUT_ON, label="Direction", visible=edits, elem_id="photo-way"
            )
            strength = gr.Slider(
                0, 2, 1, step=0.05, label="Strength", visible=edits, elem_id="photo-strength", info="1: as trained"
            )
        with gr.Column(scale=8, min_width=320):
            result = stage.build(studio, "photo")

    def change(token: str, faces: list[str], mode: str, name: str, way: str, strength: float) -> str:
        if mode == WEAR:
            return studio.dress(token, faces, default_looks(name))
        names = ([], [name]) if way == TAKE_OFF else ([name], [])
        return studio.edit(token, faces, Edit(*names, float(strength), studio.steps))

    def switch(mode: str, name: str) -> tuple[Any, ...]:
        names = _names(studio, mode)
        about = views.notes([missing] if missing else _about(studio, mode))
        shown = gr.update(visible=mode == EDIT)
        return gr.update(choices=names, value=name if name in names else names[0]), shown, shown, about

    controls = [mode, attribute, direction, strength]
    stage.connect(studio, result, panel, change, controls, [attribute.change, direction.change, strength.change])
    switched = wiring.listen(mode.change, switch, [mode, attribute], [attribute, direction, strength, about], True)
    stage.follow(studio, result, panel, change, controls, switched)


def _names(studio: Studio, mode: str) -> list[str]:
    return list(studio.attributes if mode == EDIT else styles.KINDS)


def _about(studio: Studio, mode: str) -> list[str]:
    """Returns lines on what an edit with this model is worth."""
    line = editing.describe_domain(studio.model) if mode == EDIT else None
    worth = (line or "").removeprefix("note: ").partition(". ")[0]  # the rest is on other commands
    return [f"{worth}; “{WEAR}” draws on real photos"] if worth else []
