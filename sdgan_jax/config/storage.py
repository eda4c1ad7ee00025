"""Configs as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from sdgan_jax.config import ranges
from sdgan_jax.config.gan import Config, validate

Kind = TypeVar("Kind")  # a dataclass of config fields


def to_json(config: Any) -> str:
    """Returns a config of any kind as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_values(values: Any, kind: type[Kind]) -> Kind:
    """Returns the config of this kind with the values of its fields, as JSON stores them.

    Args:
        values: dict of values by the names of the fields; fields that are missing keep their defaults.
        kind: `Config` or another dataclass of config fields.

    Raises:
        ValueError: the values are not those of a config of this program; the field is named.
    """
    config = _build(kind, values, "config")
    if isinstance(config, Config):
        validate(config)
    else:
        ranges.check(config)
    return config


def _build(kind: type[Kind], values: Any, path: str) -> Kind:
    """Returns the dataclass `kind` with the values of a dict of its fields, nested dataclasses included."""
    if not isinstance(values, dict):
        raise ValueError(f"{path} is {ranges.shown(values)}; it must be a group of fields")
    default = kind()
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{path}.{name[:80]} is unknown; it was written by another version of this program")
        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            value = _build(type(current), value, f"{path}.{name}")
        elif isinstance(current, tuple) and isinstance(value, list):
            value = tuple(value)
        setattr(default, name, value)
    return default
