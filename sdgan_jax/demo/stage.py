"""The part of a tab that shows a photo before and after its change, with the link to the result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sdgan_jax.demo import views, wiring
from sdgan_jax.demo.photo_panel import Panel
from sdgan_jax.demo.shelf import SECONDS
from sdgan_jax.demo.studio import Studio
from sdgan_jax.photos import wearing

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr

Change = Callable[..., str]


class Stage(NamedTuple):
    """Controls of a result.

    Attributes:
        view: the pictures.
        made: state, the token of the result.
    """

    view: Any
    made: Any


def build(studio: Studio, key: str) -> Stage:
    """Builds the controls; `key` makes their names unique."""
    view = gr.HTML(views.empty("opening a portrait …"), elem_id=f"{key}-result", elem_classes="stage", padding=False)
    return Stage(view, gr.State(None, time_to_live=SECONDS, delete_callback=studio.shelf.drop))


def connect(
    studio: Studio, stage: Stage, panel: Panel, change: Change, controls: Sequence[Any], triggers: Sequence[Any]
) -> None:
    """Makes the result again after each change of a control or of the photo.

    Args:
        studio: answers.
        stage: shows the result.
        panel: the photo.
        change: from token, numbers of faces and the values of `controls` to the token of a `Made`.
        controls: what the result depends on.
        triggers: events after which it is made again.
    """
    wiring.listen(list(triggers), _renewer(studio, change), _inputs(stage, panel, controls), [*stage])
    for listener in panel.opened:
        follow(studio, stage, panel, change, controls, listener)
    renew = _renewer(studio, change)

    def make_first(old: str | None, *values: Any) -> tuple[Any, Any]:
        return (gr.skip(), gr.skip()) if old else renew(old, *values)

    wiring.follow(panel.first, make_first, _inputs(stage, panel, controls), [*stage])


def follow(studio: Studio, stage: Stage, panel: Panel, change: Change, controls: Sequence[Any], listener: Any) -> None:
    """Makes the result again after another listener has succeeded; for the arguments see `connect`."""
    wiring.follow(listener, _renewer(studio, change), _inputs(stage, panel, controls), [*stage])


def _inputs(stage: Stage, panel: Panel, controls: Sequence[Any]) -> list[Any]:
    return [stage.made, panel.token, panel.faces, *controls]


def _renewer(studio: Studio, change: Change) -> Callable[..., tuple[str, str | None]]:
    def renew(old: str | None, token: str | None, faces: list[str], *values: Any) -> tuple[str, str | None]:
        photo = studio.shelf.get(token)
        if not photo.faces:
            studio.shelf.drop(old)
            return views.empty(f"{photo.name}: {wearing.NO_FACE}"), None
        new = change(token, faces, *values)
        studio.shelf.drop(old)
        made = studio.shelf.get(new)
        return views.comparison(photo.picture.pixels, made.picture.pixels, f"download/{new}", made.name), new

    return renew
