"""Reads JSON that may be damaged: every fault is a `ValueError`."""

from __future__ import annotations

import json
from typing import Any


def parse(text: str | bytes) -> Any:
    """Parses JSON.

    Raises:
        ValueError: it is not JSON, not UTF-8, or its brackets are nested more deeply than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error
