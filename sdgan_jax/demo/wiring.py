"""Connections between the controls of the page and its functions."""

from __future__ import annotations

import contextlib
import functools
import html
from collections.abc import Callable, Sequence
from typing import Any

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr

ERROR_SECONDS = 12  # for which an error stays on the page


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose errors are shown as one line; other errors than a visitor's are bugs, and stay."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ValueError, TimeoutError) as error:
            line = html.escape(" ".join(str(error).split()))
            raise gr.Error(line, duration=ERROR_SECONDS, print_exception=False) from None

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


def empty_after(listener: Any, upload: Any) -> None:
    """Empties the control of an upload after its listener, failed or not, so that it takes the next file."""
    listener.then(lambda: None, None, [upload], queue=False, show_progress="hidden", api_visibility="private")


def _options(quiet: bool) -> dict[str, Any]:
    return {
        "concurrency_limit": 1,
        "concurrency_id": "studio",
        "trigger_mode": "always_last",
        "show_progress": "hidden" if quiet else "minimal",
        "api_visibility": "private",
    }
