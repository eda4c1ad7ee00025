"""Hyperparameters that a training step reads from its state, so that with other values it is the same program."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from sdgan_jax.config.gan import Config

_GROUPS = ("losses", "adam_g", "adam_d", "adam_f", "adam_e", "staged.encoder_losses", "staged.edit_losses")
_AVERAGES = ("ema_kimg", "ema_rampup", "w_avg_beta")


def read(config: Config) -> dict[str, float]:
    """Returns rates, weights of losses and decays by their dotted names.

    Those that are 0 are not among them: the program leaves out what they weigh.
    """
    found = {name: getattr(config, name) for name in _AVERAGES}
    for group in _GROUPS:
        fields = _get(config, group)
        for field, kind in typing.get_type_hints(type(fields)).items():
            if kind is float:  # a preset may set it to a whole number
                found[f"{group}.{field}"] = getattr(fields, field)
    return {name: value for name, value in found.items() if value}


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns a config with other values, which may be arrays, in the fields of these dotted names."""
    for name, value in values.items():
        config = _replace(config, name.split("."), value)
    return config


def _get(config: Any, name: str) -> Any:
    for field in name.split("."):
        config = getattr(config, field)
    return config


def _replace(config: Any, path: list[str], value: Any) -> Any:
    first, *rest = path
    return dataclasses.replace(config, **{first: _replace(getattr(config, first), rest, value) if rest else value})
