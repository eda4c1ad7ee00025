"""The fusion network of SD-GAN's release: its inputs, with a recorder in the place of the network."""

import types

import numpy as np
import pytest

from sdgan_jax.pretrained import OfficialFusionNetwork

OFFSETS = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


class Recorder:
    """Returns fixed offsets, and keeps its inputs."""

    settings = types.SimpleNamespace(resolution=32)

    def apply(self, variables, *inputs):
        self.variables, self.inputs = variables, inputs
        return OFFSETS


def ramp(size):
    """Two images whose value is the distance from the left edge in sides of the image."""
    return np.broadcast_to((np.arange(size, dtype=np.float32) + 0.5)[:, None] / size, (2, size, size, 3))


def test_faces_and_templates_of_any_size_are_resized_and_maps_are_not():
    net, variables, maps = Recorder(), {"params": {}}, np.random.default_rng(0).random((2, 16, 16, 9))
    offsets = OfficialFusionNetwork(net, variables)(ramp(64), ramp(128), maps)
    np.testing.assert_array_equal(offsets, OFFSETS)
    faces, templates, same = net.inputs
    assert same is maps and net.variables is variables
    for images in (faces, templates):
        assert images.shape == (2, 32, 32, 3)
        np.testing.assert_allclose(images[:, :, 3:-3], ramp(32)[:, :, 3:-3], atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "line"),
    [
        (((2, 8, 9, 3), (2, 8, 8, 3), (2, 16, 16, 9)), r"faces must be \[N,R,R,3\], got \[2, 8, 9, 3\]"),
        (((2, 8, 8, 3), (8, 8, 3), (2, 16, 16, 9)), r"templates must be \[N,R,R,3\], got \[8, 8, 3\]"),
        (((2, 8, 8, 3), (2, 8, 8, 3), (2, 16, 16, 6)), r"maps must be \[N,S,S,9\], S a multiple of 4; got .*6\]"),
        (((2, 8, 8, 3), (2, 8, 8, 3), (2, 18, 18, 9)), r"maps must be \[N,S,S,9\], S a multiple of 4; got .*18"),
    ],
)
def test_other_shapes_are_refused(shapes, line):
    with pytest.raises(ValueError, match=line):
        OfficialFusionNetwork(Recorder(), {})(*(np.zeros(shape, np.float32) for shape in shapes))
