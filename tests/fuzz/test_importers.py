"""Damaged files of public weights: each is read, or refused in one line that names it."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.export
import numpy as np
import pytest
from etils import epath

from sdgan_jax import config as config_lib
from sdgan_jax.importers import assembly, formats, prnet, tflite
from sdgan_jax.importers.pickles import FileError
from tests.fuzz.limits import Tally, cases
from tests.fuzz.mutations import damaged, damaged_members
from tests.importers import files, metric_states, states, writer
from tests.importers.test_face_task import surface, task
from tests.importers.test_tflite import face_block

REFUSED = (FileError, FileNotFoundError)
ZIPS = (writer.torch_zip(files.rosinality_tree()),)
LEGACY = (writer.torch_legacy(files.rosinality_tree()),)
PICKLES = tuple(files.nvlabs_pickle(protocol=protocol) for protocol in (2, 4)) + (files.tf_pickle(),)
HEADS = writer.torch_legacy(metric_states.heads((4, 3, 5, 4, 2)))


IMPORTERS = (
    metric_states.trunk(metric_states.ALEX, (3, 4, 5, 4, 2)),
    states.irse((1, 2), (16, 32), 3, 8),
    {"model": states.sfn((16, 16, 32, 48), (4, 5, 6, 7), 2, 6)},
    {key: np.zeros((1,) * array.ndim, np.float32) for key, array in metric_states.inception().items()},
)
OTHERS = tuple(writer.torch_zip(tree) for tree in IMPORTERS)


@pytest.fixture(autouse=True)
def shapes_are_kept(monkeypatch):
    """Building the networks of a config takes a second; most damaged files have the same."""
    kept = {}

    def shapes_of(config, made=assembly.expected_shapes):
        key = config_lib.to_json(config)
        return kept[key] if key in kept else kept.setdefault(key, made(config))

    monkeypatch.setattr(assembly, "expected_shapes", shapes_of)


def read(tmp_path_factory, name, strategy, share, few):
    """Runs cases of one kind of file."""
    folder = tmp_path_factory.mktemp(name)
    (folder / "alex.pth").write_bytes(HEADS)
    with Tally(name) as tally:

        @cases(share, few)
        @hypothesis.given(strategy)
        def run(data):
            (folder / "x").write_bytes(data)
            tally.run(lambda: formats.read(folder / "x"), REFUSED, [f"{folder / 'x'}", "alex.pth"])

        run()


@pytest.mark.parametrize(
    ("name", "strategy", "share", "few"),
    [
        ("torch zip", damaged(*ZIPS), 100, 40),
        ("torch zip, right checksums", damaged_members(*ZIPS), 25, 10),
        ("torch legacy", damaged(*LEGACY), 100, 40),
        ("pickles of NVlabs", damaged(*PICKLES), 130, 60),
        ("all of them, mixed", damaged(*PICKLES, *ZIPS, *LEGACY), 60, 20),
    ],
)
def test_a_gan(tmp_path_factory, name, strategy, share, few):
    read(tmp_path_factory, name, strategy, share, few)


def test_other_networks_of_torch(tmp_path_factory):
    read(tmp_path_factory, "LPIPS, IR-SE, fusion, Inception", damaged(*OTHERS), 5, 5)
    read(tmp_path_factory, "the same, right checksums", damaged_members(*OTHERS), 2, 2)


TFLITE = face_block(np.random.default_rng(0))[0]


def test_tflite():
    with Tally("tflite") as tally:

        @cases(130, 100)
        @hypothesis.given(damaged(TFLITE))
        def run(data):
            tally.run(lambda: tflite.read(data, "x.tflite"), FileError, ["x.tflite"])

        run()


def test_face_landmarker(tmp_path_factory):
    vertices = np.zeros((468, 3), np.float32)
    parts = {"face_detector__tflite": TFLITE, "face_landmarks_detector__tflite": TFLITE}
    whole = task(**parts, geometry_pipeline_metadata_landmarks__binarypb=surface(vertices, True))
    read(tmp_path_factory, "face_landmarker.task", damaged(whole), 30, 20)
    read(tmp_path_factory, "the same, right checksums", damaged_members(whole), 40, 30)


def test_text_files_of_prnet(tmp_path_factory):
    """The files that describe PRNet's UV space; `test_a_checkpoint_of_tensorflow` has its arrays."""
    folder = tmp_path_factory.mktemp("uv")
    landmarks = "\n".join(" ".join(f"{number:.18e}" for number in range(68)) for _ in range(2)).encode()
    with Tally("PRNet's text files") as tally:

        @cases(20, 40)
        @hypothesis.given(damaged(landmarks))
        def run(data):
            (folder / "x").write_bytes(data)
            tally.run(lambda: prnet.read_landmarks(epath.Path(folder / "x")), FileError, [f"{folder}"])
            tally.run(lambda: prnet.read_face(epath.Path(folder / "x")), FileError, [f"{folder}"])

        run()


def test_a_checkpoint_of_tensorflow(tmp_path_factory):
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("tf")
    names = [key for key, _ in list(prnet.table().values())[:5]]
    variables = {name: tf.Variable(np.ones(3, np.float32)) for name in names}
    tf.compat.v1.train.Saver(variables).save(None, str(folder / "x"), write_meta_graph=False)
    parts = {path.name: path.read_bytes() for path in folder.glob("x.*")}
    with Tally("PRNet's checkpoint") as tally:

        @cases(2, 4)
        @hypothesis.given(st.tuples(*(damaged(data) | st.just(data) for data in parts.values())))
        def run(datas):
            for name, data in zip(parts, datas, strict=True):
                (folder / name).write_bytes(data)
            tally.run(lambda: formats.read(folder / "x.index"), FileError, [str(folder)])

        run()


def test_a_generator_of_jax_export_is_no_source(tmp_path_factory):
    """Files of `--format=stablehlo` are written only; `formats.read` names them as no file of weights."""
    pytest.importorskip("flatbuffers")
    made = jax.export.export(jax.jit(lambda x: x + 1))(jax.ShapeDtypeStruct((2,), np.float32)).serialize()
    read(tmp_path_factory, "jax.export", damaged(bytes(made)), 8, 10)
