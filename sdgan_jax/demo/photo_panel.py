"""The part of a tab in which a photo is opened, its faces are framed, and some of them are chosen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from sdgan_jax.demo import examples, views, wiring
from sdgan_jax.demo.shelf import SECONDS
from sdgan_jax.demo.studio import Studio
from tfds_megn.listing import printable

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr


class Panel(NamedTuple):
    """Controls of a photo.

    Attributes:
        token: state, the token of the opened photo.
        faces: the numbers of the faces that are chosen.
        first: the listener that opens the portrait when the tab is first seen.
        opened: listeners that open a photo or change its faces.
    """

    token: Any
    faces: Any
    first: Any
    opened: list[Any]


def take_file(path: str) -> tuple[bytes, str]:
    """Reads an uploaded file and deletes it, with the folder that Gradio made for it; returns its bytes and name.

    Raises:
        ValueError: it is gone: it waited for too long, or was taken for another visitor, who uploaded the same file.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise ValueError("the upload is gone before it was read; upload it again") from None
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    return data, printable(os.path.basename(path))


def build(studio: Studio, tab: gr.Tab, key: str) -> Panel:
    """Builds the controls; a portrait is there when the tab is first seen.

    Args:
        studio: answers.
        tab: the tab.
        key: makes the names of the controls unique.
    """
    token = gr.State(None, time_to_live=SECONDS, delete_callback=studio.shelf.drop)
    limits = studio.limits
    upload = gr.File(label="Photo", type="filepath", elem_id=f"{key}-upload", height=136)
    words = f"Up to {limits.megabytes} MB and {limits.megapixels} megapixels. It is not stored on the server's disk."
    gr.HTML(f'<p class="limits">{words}</p>', padding=False)
    with gr.Row():
        buttons = [
            gr.Button(name, elem_id=f"{key}-example-{k}", elem_classes=["example", f"example-{k}"], min_width=60)
            for k, name in enumerate(examples.NAMES)
        ]
    framed = gr.HTML("", elem_id=f"{key}-frames", padding=False)
    faces = gr.CheckboxGroup([], label="Faces", elem_id=f"{key}-faces", visible=False)
    more = gr.Button("Look for small faces too", size="sm", elem_id=f"{key}-more", visible=False)
    shown = [token, framed, faces, more]

    def show(new: str, old: str | None) -> tuple[Any, ...]:
        if new != old:
            studio.shelf.drop(old)
        return _show(studio, new)

    def open_file(path: str, old: str | None) -> tuple[Any, ...]:
        return show(studio.open(*take_file(path)), old)

    def open_first(old: str | None) -> Sequence[Any]:
        return [gr.skip() for _ in shown] if old else show(studio.open_example(examples.NAMES[0]), None)

    def frame(new: str, numbers: list[str]) -> str:
        photo = studio.shelf.get(new)
        return _frames(photo, {int(number) - 1 for number in numbers})

    opened = [wiring.take_upload(upload, open_file, [token], shown)]
    for name, button in zip(examples.NAMES, buttons, strict=True):
        opened.append(
            wiring.listen(button.click, lambda old, name=name: show(studio.open_example(name), old), [token], shown)
        )
    opened.append(wiring.listen(more.click, lambda old: show(studio.search(old), old), [token], shown))
    opened.append(wiring.listen(faces.input, frame, [token, faces], [framed], quiet=True))
    first = wiring.listen(tab.select, open_first, [token], shown)
    return Panel(token, faces, first, opened)


def _show(studio: Studio, token: str) -> tuple[Any, ...]:
    """Returns the values of the controls for a photo."""
    photo = studio.shelf.get(token)
    numbers = [str(1 + k) for k in range(len(photo.faces))]
    return (
        token,
        _frames(photo, set(range(len(numbers)))),
        gr.update(choices=numbers, value=numbers, visible=len(numbers) > 1),
        gr.update(visible=not photo.complete),
    )


def _frames(photo: Any, chosen: set[int]) -> str:
    return views.frames(photo.picture.pixels, photo.faces, chosen) + views.notes(photo.notes)
