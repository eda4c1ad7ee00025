"""MEGN: faces with masks, glasses and beards for TensorFlow Datasets. Importing it registers `megn`."""

from tfds_megn.megn_dataset_builder import Builder
from tfds_megn.params import ATTRIBUTES, PARAM_NAMES, sample_params
from tfds_megn.preparation import data_source
from tfds_megn.render import position_map, render

__all__ = [
    "ATTRIBUTES",
    "PARAM_NAMES",
    "Builder",
    "data_source",
    "position_map",
    "render",
    "sample_params",
]
