"""The Inception network of metrics: its inputs, with a recorder in the place of the network, and what is refused."""

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.pretrained import InceptionNetwork


class Recorder:
    """Returns fixed arrays, and keeps its inputs."""

    def apply(self, variables, images):
        self.inputs = variables, images
        self.precision = jax.config.jax_default_matmul_precision
        return np.ones((2, 3)), np.zeros((2, 4))


def test_images_go_to_the_network_as_they_are():
    net, variables, images = Recorder(), {"params": {}}, np.zeros((2, 299, 299, 3), np.float32)
    features, logits = InceptionNetwork(net, variables)(images)
    assert net.inputs[0] is variables and net.inputs[1] is images
    assert net.precision == "highest" and jax.config.jax_default_matmul_precision is None
    np.testing.assert_array_equal(features, np.ones((2, 3)))
    np.testing.assert_array_equal(logits, np.zeros((2, 4)))


def test_a_missing_network_names_the_public_file(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, start in ((tmp_path / "none", "does not exist"), (tmp_path / "empty", "has no network.json")):
        with pytest.raises(FileNotFoundError) as error:
            pretrained.inception_network(folder)
        assert str(error.value) == (
            f"{folder} {start}; give a network directory of the kind inception, made by "
            "`python -m experiments.convert --source=FILE --out=DIR` of pt_inception-2015-12-05-6726825d.pth, "
            "published by the project pytorch-fid, or weights-inception-2015-12-05-6726825d.pth, published by "
            "torch-fidelity"
        )


def test_arrays_of_another_network_are_refused(tmp_path):
    pretrained.write(tmp_path, "inception", {}, {"params": {"fc": {"kernel": np.zeros((2048, 1000), np.float32)}}})
    with pytest.raises(ValueError, match="weights.safetensors does not fit its network.json: 189 arrays differ"):
        pretrained.inception_network(tmp_path)
