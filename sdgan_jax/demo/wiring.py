"""Connections between the controls of the page and its functions."""

from __future__ import annotations

import contextlib
import functools
import html
from collections.abc import Callable, Sequence
from typing import Any

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr

from tfds_megn import listing

ERROR_SECONDS = 12  # for which an error stays on the page


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose errors are shown as one line; other errors than a visitor's are bugs, and stay."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ValueError, TimeoutError) as error:
            raise gr.Error(_line(error), duration=ERROR_SECONDS, print_exception=False) from None

    return call


def listen(
    triggers: Any, function: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any], quiet: bool = False
) -> Any:
    """Calls a function after events of controls; one call at a time, of several waiting ones the last.

    Args:
        triggers: an event, or a list of them.
        function: from the values of `inputs` to those of `outputs`.
        inputs: controls.
        outputs: controls.
        quiet: shows no progress.

    Returns:
        The listener, for `follow`.
    """
    return gr.on(triggers, guarded(function), list(inputs), list(outputs), **_options(quiet))


def follow(listener: Any, function: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """Calls a function after another listener has succeeded; for the arguments see `listen`."""
    return listener.success(guarded(function), list(inputs), list(outputs), **_options(False))


def take_upload(upload: Any, function: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """Calls a function after an upload, and empties the control, so that it takes the next file.

    Args:
        upload: the control, a `gr.File`.
        function: from the path of the file and the values of `inputs` to a tuple of those of `outputs`.
        inputs: controls.
        outputs: controls; after a bad file they stay as they are.

    Returns:
        The listener, for `follow`.
    """

    @functools.wraps(function)
    def take(*arguments: Any) -> tuple[Any, ...]:
        try:
            return (*function(*arguments), None)
        except (ValueError, TimeoutError) as error:  # After an error Gradio would leave the file in its control.
            gr.Warning(_line(error), duration=ERROR_SECONDS, title="This file cannot be used")
            return (*(gr.skip() for _ in outputs), None)

    return listen(upload.upload, take, [upload, *inputs], [*outputs, upload])


def _line(error: Exception) -> str:
    """Returns the message of an error as one line of HTML."""
    return html.escape(listing.one_line(error))


def _options(quiet: bool) -> dict[str, Any]:
    return {
        "concurrency_limit": 1,
        "concurrency_id": "studio",
        "trigger_mode": "always_last",
        "show_progress": "hidden" if quiet else "minimal",
        "api_visibility": "private",
    }
