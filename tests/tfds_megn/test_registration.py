"""Importing `tfds_megn` registers `megn`, and does not import TensorFlow Datasets."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = "print(tfds.builder_cls('megn').__module__)"


def run(program):
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    "program",
    [
        f"import tensorflow_datasets as tfds, tfds_megn; {ASK}",
        f"import tfds_megn, tensorflow_datasets as tfds; {ASK}",
        f"import tfds_megn; from importlib import util; util.find_spec('tensorflow_datasets'); "
        f"import tensorflow_datasets as tfds; {ASK}",
        f"import tfds_megn; tfds_megn.Builder; import tensorflow_datasets as tfds; {ASK}",
        f"from tfds_megn import preparation; import tensorflow_datasets as tfds; {ASK}",
        f"from tfds_megn import formats, beam_build; import tensorflow_datasets as tfds; {ASK}",
    ],
)
def test_megn_is_registered_in_any_order_of_imports(program):
    assert run(program) == "tfds_megn.megn_dataset_builder"


def test_drawing_and_loading_a_model_need_no_tensorflow_datasets():
    program = "import sys, tfds_megn, sdgan_jax; sdgan_jax.load(); print('tensorflow_datasets' in sys.modules)"
    assert run(program) == "False"


def test_names_that_need_tensorflow_datasets_are_imported_on_use():
    assert run("from tfds_megn import *; print(Builder.name, data_source.__name__)") == "megn data_source"
    assert run("import tfds_megn; print(hasattr(tfds_megn, 'nothing'))") == "False"
