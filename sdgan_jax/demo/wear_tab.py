"""The tab Wear: forms, colours and a texture of what faces wear, drawn anew after each change."""

from __future__ import annotations

import contextlib

from sdgan_jax.demo import photo_panel, stage, wiring
from sdgan_jax.demo.changes import Look
from sdgan_jax.demo.shelf import SECONDS
from sdgan_jax.demo.studio import Studio
from sdgan_jax.face3d.attire import styles

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr

ROWS = {"Mask": ("mask",), "Glasses": ("eyeglasses", "sunglasses"), "Beard": ("beard",), "Mustache": ("mustache",)}
_NONE, _BETWEEN = "none", ", "
_FIRST = {"Mask": "mask, surgical"}  # worn at the start


def build(studio: Studio, tab: gr.Tab) -> None:
    """Builds the controls, inside of a tab."""
    forms, colours = [], []
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            panel = photo_panel.build(studio, tab, "wear")
            for row, attributes in ROWS.items():
                with gr.Row(equal_height=True):
                    choices = list_forms(attributes)
                    form = gr.Dropdown(
                        choices, value=_FIRST.get(row, _NONE), label=row, scale=3, min_width=150, elem_id=f"form-{row}"
                    )
                    colour = gr.ColorPicker(None, label="Colour", scale=1, min_width=90, elem_id=f"colour-{row}")
                forms.append(form)
                colours.append(colour)
            usual = gr.Button("Usual colours", size="sm", elem_id="usual-colours")
            texture = gr.State(None, time_to_live=SECONDS, delete_callback=studio.shelf.drop)
            upload = gr.File(label="Own texture", height=136, elem_id="texture-upload")
            with gr.Row(equal_height=True):
                onto = gr.Radio(list(ROWS), value="Mask", label="Texture on", elem_id="texture-on", scale=3)
                clear = gr.Button("No texture", size="sm", elem_id="no-texture", scale=1, min_width=90)
        with gr.Column(scale=8, min_width=320):
            result = stage.build(studio, "wear")

    def change(token: str, faces: list[str], texture: str | None, onto: str, *values: str) -> str:
        return studio.dress(token, faces, read_looks(studio, texture, onto, values))

    def open_texture(path: str, old: str | None) -> tuple[str]:
        pixels = studio.read_texture(*photo_panel.take_file(path))
        studio.shelf.drop(old)
        return (studio.shelf.put(pixels, pixels.nbytes),)

    controls = [texture, onto, *forms, *colours]
    changes = [control.change for control in (onto, *forms, *colours)]
    stage.connect(studio, result, panel, change, controls, changes)
    opened = wiring.take_upload(upload, open_texture, [texture], [texture])
    cleared = wiring.listen(clear.click, studio.shelf.drop, [texture], [texture], quiet=True)
    for listener in (opened, cleared):
        stage.follow(studio, result, panel, change, controls, listener)
    usual.click(lambda: [None] * len(colours), None, colours, api_visibility="private", show_progress="hidden")


def list_forms(attributes: tuple[str, ...]) -> list[str]:
    """Returns the choices of a row: "none", then each form of each attribute, such as "mask, cloth"."""
    return [_NONE, *(f"{name}{_BETWEEN}{kind}" for name in attributes for kind in styles.KINDS[name])]


def read_looks(studio: Studio, texture: str | None, onto: str, values: tuple[str, ...]) -> dict[str, Look]:
    """Returns the looks that the controls describe.

    Args:
        studio: keeps the texture.
        texture: token of the texture, or None.
        onto: the row that wears it.
        values: the form of each row of `ROWS`, then the colour of each.

    Raises:
        ValueError: the texture is no longer kept.
    """
    pixels = studio.shelf.get(texture) if texture else None
    worn, count = {}, len(ROWS)
    for row, form, colour in zip(ROWS, values[:count], values[count:], strict=True):
        if form and form != _NONE:
            name, kind = form.split(_BETWEEN)
            worn[name] = Look(kind, colour, pixels if row == onto else None)
    return worn
