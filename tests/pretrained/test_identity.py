"""Identity networks: read, refused; embeddings of the crop alone, at any size."""

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.nets.arcface import ArcFace
from tests.pretrained.settings import change

SETTINGS = {"blocks": [1], "widths": [4], "embedding_dim": 3, "resolution": 8, "crop": [0.25, 0.125, 0.75, 0.625]}


@pytest.fixture(scope="module")
def variables():
    shapes = jax.eval_shape(
        ArcFace((1,), (4,), 3).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), "float32")
    )
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.5 + rng.random(leaf.shape, np.float32), shapes)


def test_the_embedding_is_that_of_the_crop(tmp_path, variables):
    """An image that is constant within the crop, whatever is around it, is the constant image, at any size."""
    pretrained.write(tmp_path, "identity", SETTINGS, variables)
    network = pretrained.identity_network(tmp_path)
    assert network.crop == (0.25, 0.125, 0.75, 0.625)
    net = ArcFace((1,), (4,), 3)
    colour = np.array([0.5, -0.25, 0.75], np.float32)
    expected = jax.jit(net.apply)(variables, np.broadcast_to(colour, (1, 8, 8, 3)))
    for size in (8, 40):  # the crop grows, and shrinks
        images = np.random.default_rng(1).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
        images[:, size // 4 : 3 * size // 4, size // 8 : 5 * size // 8] = colour
        np.testing.assert_allclose(jax.jit(network)(images), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"images must be \[N,R,R,3\], got \[8, 8, 3\]"):
        network(np.zeros((8, 8, 3), np.float32))


def test_without_a_crop_the_network_sees_the_whole_image(tmp_path, variables):
    pretrained.write(tmp_path, "identity", SETTINGS | {"crop": None}, variables)
    network = pretrained.identity_network(tmp_path)
    image = np.random.default_rng(1).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    expected = jax.jit(network.net.apply)(variables, image)
    np.testing.assert_allclose(jax.jit(network)(image), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"crop": [0.1, 0.2, 0.3]}, "describes no network: crop must be null, or top, left, bottom and right"),
        ({"crop": [0.5, 0.2, 0.3, 0.9]}, "describes no network: crop must be null, or top"),
        ({"crop": [0.0, 0.2, 0.9, 1.1]}, "describes no network: crop must be null, or top"),
        ({"crop": "face"}, "describes no network"),
        ({"widths": [4, 8]}, "describes no network"),
        ({"widths": 4}, "describes no network"),
        ({"blocks": [10**9]}, "describes no network: blocks is .1000000000.; it must be from 1 to 200"),
        ({"blocks": [1] * 17}, "describes no network: blocks has 17 numbers"),
        ({"crop": [0.1, "a", 0.9, 1]}, "describes no network"),
        ({"crop": 3}, "describes no network"),
        ({"resolution": 9}, "describes no network: images must be"),
        ({"embedding_dim": 5}, r"weights.safetensors does not fit its network.json: \d+ arrays differ"),
        ({"resolution": None}, "network.json lacks the setting 'resolution'"),
    ],
)
def test_settings_that_do_not_fit_get_one_line(tmp_path, variables, changes, line):
    pretrained.write(tmp_path, "identity", SETTINGS, variables)
    change(**changes)(tmp_path)
    with pytest.raises(ValueError, match=line):
        pretrained.identity_network(tmp_path)


def test_networks_of_other_kinds_and_none(tmp_path, variables):
    pretrained.write(tmp_path, "identity", SETTINGS, variables)
    with pytest.raises(ValueError, match="is a network of the kind identity; one of the kind sfn is needed"):
        pretrained.fusion_network(tmp_path)
    for read in (pretrained.fusion_network, pretrained.identity_network):
        with pytest.raises(FileNotFoundError, match="none does not exist; give a network directory of the kind"):
            read(tmp_path.parent / "none")
