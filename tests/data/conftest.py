import pytest

from sdgan_jax import config as config_lib
from tests.data import tiny_sets


@pytest.fixture(scope="package")
def config(tmp_path_factory):
    return config_lib.Config(
        dataset="tiny_faces",
        data_dir=str(tmp_path_factory.mktemp("data")),
        resolution=8,
        attributes=tiny_sets.NAMES,
        batch_size=4,
        seed=3,
    )
