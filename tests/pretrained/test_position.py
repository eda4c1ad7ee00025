"""Position networks: written, read, refused; maps in the pixels of any image."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.face3d import descent, finding
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.nets.prnet import ResFCN
from tests.pretrained.settings import change

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


def test_a_single_pass_is_half_of_the_average_with_the_mirrored_image(tmp_path, variables):
    """In images of half the network's size: maps of the mirrored image, mirrored back, are the other half."""
    pretrained.write(tmp_path, "prnet", SETTINGS, variables)
    network = pretrained.position_network(tmp_path)
    images = np.random.default_rng(2).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    both, one, other = (
        np.asarray(jax.jit(each)(x))
        for each, x in ((network, images), (network.single_pass, images), (network.single_pass, images[:, :, ::-1]))
    )
    other = other[:, :, ::-1] * [-1.0, 1.0, 1.0] + [15.0, 0.0, 0.0]
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-3)


@pytest.fixture(scope="module")
def with_stages(variables):
    """The network's variables with two stages of 3 and 5 components, small."""
    rng = np.random.default_rng(1)
    shapes = {str(k): vars(descent.shapes(layouts.megn(32), count)) for k, count in enumerate((3, 5))}
    return variables | {"stages": jax.tree.map(lambda leaf: 0.01 * rng.random(leaf.shape, np.float32), shapes)}


def test_stages_are_written_and_read_and_correct_the_maps_in_order(tmp_path, with_stages):
    """As `descent.correct` does at the network's size, whose pixels are 1.5 of the image here."""
    pretrained.write(tmp_path, "prnet", SETTINGS | {"stages": [3, 5]}, with_stages)
    network = pretrained.position_network(tmp_path)
    assert [stage.weights.shape[1] for stage in network.stages] == [3, 5]
    images = jax.image.resize(np.random.default_rng(2).uniform(-1, 1, (2, 6, 6, 3)), (2, 48, 48, 3), "linear")
    small = jax.image.resize(images, (2, 32, 32, 3), "linear", antialias=True)
    alone, corrected = (np.asarray(jax.jit(each)(images)) for each in (network.alone, network))
    correct = [jax.jit(functools.partial(descent.correct, stage=s, layout=network.uv_layout)) for s in network.stages]
    for number in range(2):
        maps = (alone[number] + [0.5, 0.5, 0.0]) / 1.5 - [0.5, 0.5, 0.0]
        for stage in correct:
            maps = stage(small[number], jnp.asarray(maps, jnp.float32))
        expected = (np.asarray(maps) + [0.5, 0.5, 0.0]) * 1.5 - [0.5, 0.5, 0.0]
        assert np.abs(expected - alone[number]).max() > 0.1
        np.testing.assert_allclose(corrected[number], expected, atol=1e-2)


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ([3, 4], "weights.safetensors does not fit its network.json: 2 arrays differ, "),
        (3, "network.json describes no network"),
    ],
)
def test_stages_that_do_not_fit_are_refused(tmp_path, with_stages, stages, line):
    pretrained.write(tmp_path, "prnet", SETTINGS | {"stages": stages}, with_stages)
    with pytest.raises(ValueError, match=line):
        pretrained.position_network(tmp_path)


def put_objects(folder):
    (folder / "weights.safetensors").unlink()
    np.savez(folder / "weights.npz", a=np.array([{}], object))


def cut(folder):
    (folder / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:-400])


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            lambda folder: (folder / "network.json").unlink(),
            "has no network.json; give a network directory of the kind",
        ),
        (
            lambda folder: (folder / "weights.safetensors").unlink(),
            "has no weights.safetensors; give a network directory",
        ),
        (lambda folder: (folder / "network.json").write_text("{"), "network.json: it is not JSON"),
        (lambda folder: (folder / "network.json").write_text("[]"), "network.json: it is not a JSON object"),
        (
            lambda folder: (folder / "network.json").write_bytes(b'{"kind": "\xff"}'),
            "network.json: it is not UTF-8 text",
        ),
        (
            lambda folder: (folder / "network.json").write_text("[" * 100_000),
            "network.json: it is not JSON: its brackets are nested too",
        ),
        (change(kind="sfn"), "is a network of the kind sfn; one of the kind prnet or mesh is needed"),
        (change(size=None), "network.json lacks the setting 'size'"),
        (change(size=48), "network.json describes no network: the size of a ResFCN is 48"),
        (change(size="large"), "network.json describes no network: size is large; it must be from 1 to 1024"),
        (change(size=[32]), "network.json describes no network"),
        (change(size=True), "network.json describes no network: size is True; it must be from 1 to 1024"),
        (change(size=1 << 40), "network.json describes no network: size is 1099511627776; it must be from 1 to 1024"),
        (change(size=32.0), "network.json describes no network: size is 32.0"),
        (change(channels=10**400), "network.json describes no network: channels is 1000000000"),
        (change(depth_offset=math.nan), "network.json describes no network: layout must be megn or prnet, and depth"),
        (change(depth_offset=True), "network.json describes no network: layout must be megn or prnet, and depth"),
        (change(threshold=1.5), "network.json describes no network: threshold is 1.5; it must be from 0 to 1"),
        (change(threshold="low"), "network.json describes no network: threshold is 'low'; it must be from 0 to 1"),
        (change(threshold=math.nan), "network.json describes no network: threshold is nan; it must be from 0 to 1"),
        (change(threshold=True), "network.json describes no network: threshold is True; it must be from 0 to 1"),
        (change(stages=[1] * 17), "network.json describes no network: stages has 17 numbers; at most 16 are known"),
        (change(stages=[10**9]), "network.json describes no network: stages is "),
        (change(stages={"0": 3}), "network.json describes no network: stages is "),
        (change(kind=["prnet"]), "is a network of the kind ..prnet..; one of the kind prnet or mesh is needed"),
        (change(layout="bfm"), "network.json describes no network: layout must be megn or prnet"),
        (change(channels=3), r"weights.safetensors does not fit its network.json: \d+ arrays differ, "),
        (put_objects, "weights.npz is damaged or not a file of arrays"),
        (cut, "weights.safetensors is damaged or not a file of arrays"),
    ],
)
def test_other_directories_get_one_line(tmp_path, variables, edit, line):
    pretrained.write(tmp_path, "prnet", SETTINGS, variables)
    edit(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=line):
        pretrained.position_network(tmp_path)


def test_faces_are_found_below_the_threshold_of_the_network(tmp_path, variables):
    pretrained.write(tmp_path, "prnet", SETTINGS, variables)
    assert pretrained.position_network(tmp_path).threshold == finding.THRESHOLD  # directories of version 0.1 have none
    change(threshold=0.5)(tmp_path)
    assert pretrained.position_network(tmp_path).make_find().keywords["threshold"] == 0.5


def test_a_network_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none does not exist; give a network .* of the kind prnet or mesh$"):
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
        network = pretrained.PositionNetwork(net, {"params": {}, "batch_stats": {}}, "prnet", 0.5)
        ramp = (np.arange(resolution) + 0.5) / resolution
        images = np.broadcast_to((2 * ramp - 1)[:, None], (1, resolution, resolution, 3)).astype(np.float32)
        maps = network(images)
        np.testing.assert_allclose(maps, share * resolution - [0.5, 0.5, 0], atol=1e-4 * resolution / 32)
        # The linear ramp across the image is the same ramp at the network's size, from 0 to 1; its ends are rounded.
        np.testing.assert_allclose(net.seen[0, 5, 4:-4, 1], ((np.arange(32) + 0.5) / 32)[4:-4], atol=1e-5)
    with pytest.raises(ValueError, match=r"images must be \[N,R,R,3\], got \[1, 8, 9, 3\]"):
        network(np.zeros((1, 8, 9, 3), np.float32))


def test_the_map_of_a_mirror_image_is_the_mirrored_map(variables):
    """In MEGN's layout, whatever the network says: x changes its direction, and left and right texels their places."""
    network = pretrained.PositionNetwork(ResFCN(32, 2), variables, "megn", 0.5)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 48, 48, 3)).astype(np.float32)
    maps, mirrored = (np.asarray(network(pictures)) for pictures in (images, images[:, :, ::-1]))
    np.testing.assert_allclose(mirrored[:, :, ::-1] * [-1, 1, 1] + [47, 0, 0], maps, atol=1e-3)


def test_where_the_face_is_on_the_maps():
    """Of our own square by its size; of PRNet's by the files that its user owns, and not without them."""
    ours = pretrained.PositionNetwork(ResFCN(32, 2), {}, "megn", 0.5)
    assert ours.uv_layout is layouts.megn(32)
    landmarks, face = layouts.megn(256).landmarks, np.tri(256, dtype=bool)
    table = {"landmarks": jnp.asarray(landmarks), "face": jnp.asarray(face)}
    public = pretrained.PositionNetwork(ResFCN(256), {"layout": table}, "prnet", 0.0)
    np.testing.assert_array_equal(public.uv_layout.landmarks, landmarks)
    np.testing.assert_array_equal(public.uv_layout.face, face)
    # Through landmarks at the same places the spline finds the same places on the mean face.
    known = layouts.megn(256).coordinates[100:200:20, 90:170:20]
    np.testing.assert_allclose(public.uv_layout.coordinates[100:200:20, 90:170:20], known, atol=0.03)
    assert public.uv_layout is public.uv_layout
    for missing in ({}, {"layout": {"face": table["face"]}}, {"layout": {"landmarks": table["landmarks"]}}):
        network = pretrained.PositionNetwork(ResFCN(256), missing, "prnet", 0.0)
        with pytest.raises(ValueError, match="convert it again by experiments.convert --prnet_uv=FOLDER"):
            _ = network.uv_layout
