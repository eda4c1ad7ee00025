"""MEGN: faces with masks, glasses and beards for TensorFlow Datasets. Importing it registers `megn`."""

from tfds_megn.megn_dataset_builder import Builder
from tfds_megn.params import ATTRIBUTES, PARAM_NAMES, VARIED_NAMES, sample_params
from tfds_megn.preparation import data_source
from tfds_megn.render import render
from tfds_megn.uv import LANDMARKS, landmarks, position_map

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
