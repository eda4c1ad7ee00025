"""Network directories: written, read, refused; position maps in the pixels of any image."""

import json

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.nets.prnet import ResFCN

SETTINGS = {"size": 32, "channels": 2, "layout": "megn", "depth_offset": 0.5}


@pytest.fixture(scope="module")
def variables():
    net, rng = ResFCN(32, 2), np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32))
    drawn = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)
    return drawn | {"layout": {"face": rng.random((4, 4)) < 0.5, "landmarks": rng.random((68, 2), np.float32)}}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_is_written_is_read(tmp_path, variables, dtype):
    pretrained.write(tmp_path / "a" / "net", "prnet", SETTINGS, variables, dtype)
    network = pretrained.position_network(tmp_path / "a" / "net")
    assert (network.net.size, network.net.channels, network.layout, network.depth_offset) == (32, 2, "megn", 0.5)
    assert jax.tree.structure(network.variables) == jax.tree.structure(variables)
    for read, written in zip(jax.tree.leaves(network.variables), jax.tree.leaves(variables), strict=True):
        if written.dtype == bool:
            assert read.dtype == bool
            np.testing.assert_array_equal(read, written)
        else:
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, written.astype(dtype).astype(np.float32))
    settings, read = pretrained.read(tmp_path / "a" / "net", "prnet")  # without shapes to hold it against
    assert settings == SETTINGS and jax.tree.structure(read) == jax.tree.structure(variables)


def change(**changes):
    def edit(folder):
        values = json.loads((folder / "network.json").read_text()) | changes
        (folder / "network.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))

    return edit


def put_objects(folder):
    np.savez(folder / "weights.npz", a=np.array([{}], object))


def cut(folder):
    (folder / "weights.npz").write_bytes((folder / "weights.npz").read_bytes()[:-400])


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            lambda folder: (folder / "network.json").unlink(),
            "has no network.json; give a network directory of the kind",
        ),
        (lambda folder: (folder / "weights.npz").unlink(), "has no weights.npz; give a network directory"),
        (lambda folder: (folder / "network.json").write_text("{"), "network.json is no JSON"),
        (lambda folder: (folder / "network.json").write_text("[]"), "network.json holds no settings"),
        (change(kind="sfn"), "is a network of the kind sfn; one of the kind prnet is needed"),
        (change(size=None), "network.json lacks the setting 'size'"),
        (change(size=48), "network.json describes no network: the size of a ResFCN is 48"),
        (change(size="large"), "network.json describes no network"),
        (change(layout="bfm"), "network.json describes no network: layout must be megn or prnet"),
        (change(channels=3), r"weights.npz does not fit its network.json: \d+ arrays differ, "),
        (put_objects, "weights.npz is damaged or no archive of arrays"),
        (cut, "weights.npz is damaged or no archive of arrays"),
    ],
)
def test_other_directories_get_one_line(tmp_path, variables, edit, line):
    pretrained.write(tmp_path, "prnet", SETTINGS, variables)
    edit(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=line):
        pretrained.position_network(tmp_path)


def test_a_network_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none has no network.json"):
        pretrained.position_network(tmp_path / "none")


class Recorder:
    """In the place of a network: gives the maps that it was made with, and keeps what it was shown."""

    size = 32

    def __init__(self, maps):
        self.maps = maps

    def apply(self, variables, images):
        self.seen = images
        return self.maps


def test_maps_are_in_pixels_of_the_image():
    """A point at a share a of the image's sides lies at a·R - 0.5, whatever R: pixel centres are whole numbers."""
    share = np.random.default_rng(0).random((1, 32, 32, 3))
    # The network's own pixels: 0 to 1 of it are 0 to 1.1 sides of 32 pixels, its pixel centres whole numbers too.
    outputs = (share * 32 - [0.5, 0.5, 0]) / (1.1 * 32) + [0, 0, 0.5]
    for resolution in (16, 32, 64):
        net = Recorder(outputs.astype(np.float32))
        network = pretrained.PositionNetwork(net, {"params": {}, "batch_stats": {}}, "megn", 0.5)
        ramp = (np.arange(resolution) + 0.5) / resolution
        images = np.broadcast_to((2 * ramp - 1)[:, None], (1, resolution, resolution, 3)).astype(np.float32)
        maps = network(images)
        np.testing.assert_allclose(maps, share * resolution - [0.5, 0.5, 0], atol=1e-4 * resolution / 32)
        # The linear ramp across the image is the same ramp at the network's size, from 0 to 1; its ends are rounded.
        np.testing.assert_allclose(net.seen[0, 5, 4:-4, 1], ((np.arange(32) + 0.5) / 32)[4:-4], atol=1e-5)
    with pytest.raises(ValueError, match=r"images must be \[N,R,R,3\], got \[1, 8, 9, 3\]"):
        network(np.zeros((1, 8, 9, 3), np.float32))
