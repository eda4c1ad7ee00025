"""MEGN: faces with masks, glasses and beards for TensorFlow Datasets. Importing it registers `megn`."""

import importlib
from typing import TYPE_CHECKING, Any

from tfds_megn import registration
from tfds_megn.params import ATTRIBUTES, PARAM_NAMES, VARIED_NAMES, sample_params
from tfds_megn.render import render
from tfds_megn.uv import LANDMARKS, landmarks, position_map

if TYPE_CHECKING:
    from tfds_megn.megn_dataset_builder import Builder
    from tfds_megn.preparation import data_source

__all__ = [
    "ATTRIBUTES",
    "LANDMARKS",
    "PARAM_NAMES",
    "VARIED_NAMES",
    "Builder",
    "data_source",
    "landmarks",
    "position_map",
    "render",
    "sample_params",
]

_OF_TFDS = {"Builder": "megn_dataset_builder", "data_source": "preparation"}  # imported when they are first used


def __getattr__(name: str) -> Any:
    """Imports the names that need TensorFlow Datasets."""
    if name not in _OF_TFDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_OF_TFDS[name]}"), name)


registration.register()
