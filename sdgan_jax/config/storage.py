"""Configs as JSON, of whatever kind."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from sdgan_jax.config import ranges
from sdgan_jax.config.gan import Config, validate

Kind = TypeVar("Kind")  # of config


def to_json(config: Any) -> str:
    """Returns a config, of whatever kind, as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str, kind: type[Kind] = Config) -> Kind:  # type: ignore[assignment]
    """Reads what `to_json` wrote of a config of this kind.

    Raises:
        ValueError: when the text is not a config of this program, naming the field.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not a config: {error}") from error
    return from_values(values, kind)


def from_values(values: Any, kind: type[Kind] = Config) -> Kind:  # type: ignore[assignment]
    """Makes a config of this kind of its values by name, as JSON holds them.

    Raises:
        ValueError: they are not those of a config of this program, naming the field.
    """
    config = _build(kind, values, "config")
    if isinstance(config, Config):
        validate(config)
    else:
        ranges.check(config)
    return config


def _build(kind: type[Kind], values: Any, path: str) -> Kind:
    """Makes the dataclass `kind` from a dict of its fields, nested dataclasses included."""
    if not isinstance(values, dict):
        raise ValueError(f"{path} is {values!r}; it must be a group of fields")
    default = kind()
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{path}.{name} is unknown; it was written by another version of this program")
        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            value = _build(type(current), value, f"{path}.{name}")
        elif isinstance(current, tuple) and isinstance(value, list):
            value = tuple(value)
        setattr(default, name, value)
    return default
