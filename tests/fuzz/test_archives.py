"""Damaged files of arrays, model and network directories, and checkpoints: read, or refused in one line."""

import functools
import io
import json
import pathlib
import shutil
import struct

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from sdgan_jax import config as config_lib
from sdgan_jax import pretrained
from sdgan_jax.pretrained import archive, storage
from sdgan_jax.training import checkpoint, sharding
from sdgan_jax.training.gan import weights
from tests.fuzz.limits import Tally, cases
from tests.fuzz.mutations import changed_json, damaged, damaged_members
from tests.training import tiny

ARRAYS = {"a/kernel": np.ones((3, 4), np.float32), "a/bias": np.zeros(4, np.float16), "face": np.ones(5, bool)}
REFUSED = (ValueError, FileNotFoundError)


def npz(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def read_archives(file, strategy):
    """Runs cases of one format."""
    with Tally(file.name) as tally:

        @cases(60, 60)
        @hypothesis.given(strategy)
        def run(data):
            file.write_bytes(data)
            tally.run(lambda: archive.read(file), ValueError, [str(file)])

        run()


def with_header(data):
    """Returns a strategy of safetensors files whose JSON header is changed, and its length right."""
    (length,) = struct.unpack_from("<Q", data)
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    return changed_json(header).map(lambda text: struct.pack("<Q", len(text)) + text + rest)


def test_safetensors_and_npz(tmp_path):
    plain = safetensors.numpy.save(ARRAYS)
    read_archives(tmp_path / "x.safetensors", damaged(plain) | with_header(plain))
    zips = npz(ARRAYS), npz(ARRAYS, np.savez_compressed)
    read_archives(tmp_path / "x.npz", damaged(*zips) | damaged_members(*zips))


def test_a_bomb(tmp_path):
    """An npz of 64 KiB that unpacks to 64 MiB is refused, as are headers that claim more than there is."""
    file = tmp_path / "x.npz"
    with Tally("npz bombs") as tally:
        file.write_bytes(npz({"a": np.zeros(1 << 24, np.float32)}, np.savez_compressed))
        tally.run(lambda: archive.read(file), ValueError, [str(file)])
        whole = npz({"a": np.zeros(4, np.float32)})
        for shape in (b"(9999999999999,)", b"(4, 99999999999999)"):
            file.write_bytes(whole.replace(b"(4,), }" + b" " * (len(shape) - 4), shape + b", }"))
            tally.run(lambda: archive.read(file), ValueError, [str(file)])
        assert tally.counts == {"refused": 3}


@pytest.fixture
def shapes_are_kept(monkeypatch):
    """Building the networks of a config takes a second; most damaged configs have the same."""
    kept, true = {}, jax.eval_shape

    def eval_shape(function, *arguments):
        nets = function.args[0] if isinstance(function, functools.partial) and function.args else None
        if nets is None or arguments:
            return true(function, *arguments)
        key = config_lib.to_json(nets.config)
        return kept[key] if key in kept else kept.setdefault(key, true(function))

    monkeypatch.setattr(jax, "eval_shape", eval_shape)


@functools.cache
def model_files():
    """Returns `config.json` and `weights.safetensors` of a tiny model as bytes."""
    settings = tiny.config()
    state = tiny.random_state(settings)
    arrays = {name: getattr(state, name) for name in weights.FIELDS}
    flat = {name: np.asarray(leaf) for name, leaf in archive.flatten(arrays).items()}
    return config_lib.to_json(settings).encode(), safetensors.numpy.save(flat)


def test_a_model_directory(tmp_path, shapes_are_kept):
    text, arrays = model_files()
    with Tally("model directories") as tally:

        @cases(10, 10)
        @hypothesis.given(
            st.just(text) | damaged(text) | changed_json(json.loads(text)),
            st.just(arrays) | damaged(arrays) | with_header(arrays),
        )
        def run(config, data):
            (tmp_path / "config.json").write_bytes(config)
            (tmp_path / "weights.safetensors").write_bytes(data)
            tally.run(lambda: weights.read(tmp_path), REFUSED, [str(tmp_path)])

        run()


@pytest.mark.parametrize(
    ("kind", "folder", "read"),
    [
        ("prnet", "prnet64", pretrained.position_network),
        ("identity", "identity64", pretrained.identity_network),
        ("classifier", "classifier64", pretrained.attribute_classifier),
    ],
)
def test_a_network_directory(tmp_path, kind, folder, read):
    """Settings are changed; the arrays are those of the network that comes with the project."""
    shutil.copy(storage.SHIPPED / folder / "weights.safetensors", tmp_path)
    settings = json.loads((storage.SHIPPED / folder / "network.json").read_text())
    with Tally(f"network.json of {kind}") as tally:

        @cases(0.5, 3)
        @hypothesis.given(damaged(json.dumps(settings).encode()) | changed_json(settings))
        def run(data):
            (tmp_path / "network.json").write_bytes(data)
            tally.run(lambda: read(tmp_path), REFUSED, [str(tmp_path)])

        run()


class Batches:
    position, skipped, dataset = 0, (), "faces"


@functools.cache
def run_with_a_checkpoint(folder):
    """Writes a workdir with one checkpoint; returns the bytes of the checkpoint's files by path."""
    settings = tiny.config()
    mesh = sharding.make_mesh(settings.batch_size)
    state = jax.device_put(tiny.random_state(settings), sharding.replicated(mesh))
    with checkpoint.Checkpoints(folder, settings) as checkpoints:
        checkpoints.save(3, state, Batches())
    files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file() and path.stat().st_size]
    return {path: path.read_bytes() for path in files if "checkpoints" in path.parts}


def test_a_checkpoint(tmp_path, shapes_are_kept):
    """One file of a checkpoint of Orbax is damaged, and `--model` names the workdir."""
    files = run_with_a_checkpoint(str(tmp_path / "run"))
    with Tally("checkpoints") as tally:

        @cases(0.3, 2)
        @hypothesis.given(st.data(), st.sampled_from(sorted(files)))
        def run(draw, path):
            path.write_bytes(draw.draw(damaged(files[path])))
            try:
                tally.run(lambda: weights.read(epath.Path(tmp_path / "run")), REFUSED, [str(tmp_path)])
            finally:
                path.write_bytes(files[path])

        run()
