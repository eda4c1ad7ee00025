"""TFDS's own test of the builder; needs TensorFlow and dill (`pip install './tfds_megn[tf,test]'`)."""

import pytest

pytest.importorskip("tensorflow", reason="tfds.testing needs tensorflow: pip install './tfds_megn[tf,test]'")
pytest.importorskip("dill", reason="tfds.testing needs dill: pip install './tfds_megn[tf,test]'")

import tensorflow_datasets as tfds

from tfds_megn.megn_dataset_builder import Builder


class RenderedTest(tfds.testing.DatasetBuilderTestCase):
    """Rendered faces: 60 of 32 x 32 pixels."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["rendered_32_n60"]
    SPLITS = {"train": 48, "validation": 6, "test": 6}


class PhotosTest(tfds.testing.DatasetBuilderTestCase):
    """Photos: the 18 pictures of dummy_data."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["photos_64"]
    SPLITS = {"train": 16, "validation": 1, "test": 1}


if __name__ == "__main__":
    tfds.testing.test_main()
