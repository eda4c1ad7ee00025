"""Measurements of position maps and of wearing, on maps whose error is known."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import networks, report
from sdgan_jax.face3d import layout


def faces(count, size):
    params = np.stack([tfds_megn.sample_params(identity, 1) for identity in range(count)])
    labels = np.arange(count, dtype=np.int32) % 6
    images = tfds_megn.render(params, labels.tolist(), size)
    return rendered.Faces(images, labels, np.arange(count, dtype=np.int32), params)


class Knowing:
    """Gives the true maps of these faces in the pixels of pictures of `pixels`, moved by `error`; in their order."""

    def __init__(self, params, size, pixels, error):
        truth = np.stack([tfds_megn.position_map(p, size) for p in params])
        truth = (truth + [0.5, 0.5, 0]) * (pixels / size) - [0.5, 0.5, 0] + error
        self._maps = jnp.asarray(truth, jnp.float32)
        self.net, self.layout, self.uv_layout = types.SimpleNamespace(size=size), "megn", layout.megn(size)

    def __call__(self, images):
        assert len(images) == len(self._maps)
        return self._maps


def test_errors_are_those_put_in_and_each_group_has_its_faces():
    some = faces(8, 64)
    table = networks.position_errors(Knowing(some.params, 32, 64, [0.6, -0.8, 2.0]), some)
    expected = []
    for params in some.params:
        x, y, _ = tfds_megn.landmarks(params, 64).T
        expected.append(100 / np.sqrt((x.max() - x.min()) * (y.max() - y.min())))  # moved by one pixel
    expected = np.array(expected)
    assert table["all"]["faces"] == 8 and table["none"]["faces"] == 2 and table["any attribute"]["faces"] == 6
    # The box is read off a map of 32 texels, within half of a per cent.
    assert table["all"]["landmarks"] == pytest.approx(expected.mean(), rel=0.01)
    assert table["none"]["face"] == pytest.approx(expected[[0, 6]].mean(), rel=0.01)
    assert table["mask"]["face_3d"] == pytest.approx(expected[[1, 7]].mean() * np.sqrt(5), rel=0.01)


def test_a_perfect_map_has_no_error():
    some = faces(2, 64)
    table = networks.position_errors(Knowing(some.params, 64, 64, 0.0), some)
    assert table["all"]["landmarks"] < 0.01 and table["all"]["face_3d"] < 0.01
    assert list(table) == ["none", "mask", "any attribute", "all"]


def test_the_overlap_of_two_regions():
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    first[:2], second[1:3] = 1.0, 1.0
    second[1, 0] = 0.5
    assert networks.overlap(first, second) == pytest.approx((3 + 0.5) / 12)


def test_a_network_of_another_layout_is_refused():
    network = types.SimpleNamespace(net=types.SimpleNamespace(size=32), layout="prnet")
    with pytest.raises(ValueError, match="as prnet has it; rendered faces are known as megn"):
        networks.position_errors(network, faces(1, 32))


def test_a_table_reads_well():
    text = report.text("errors", {"none": {"landmarks": 1.23456, "faces": 12}})
    assert text.split() == ["errors", "landmarks", "faces", "none", "1.235", "12"]
