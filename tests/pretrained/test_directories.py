"""Directories that users give as a model or a network by mistake: one line names what each is and where it belongs."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import sdgan_jax
from sdgan_jax import config as config_lib
from sdgan_jax import pretrained
from sdgan_jax.config import Config
from sdgan_jax.config.networks import IdentityConfig, PRNetConfig
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import archive, directories
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan import recipe
from tests.printed import own_lines

KINDS = {"gan": Config(), "prnet": PRNetConfig(), "identity": IdentityConfig()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a model, a network, runs of each kind, and files of weights; none of the arrays is ever read."""
    monkeypatch.chdir(tmp_path)

    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    for kind, config in KINDS.items():
        put(f"runs/{kind}/config.json", config_lib.to_json(config))
        put(f"runs/{kind}/checkpoints/1500/state/d/x", "")
        put(f"runs/{kind}/samples/0.png", "")
    put("model/config.json", config_lib.to_json(Config()))
    put("model/weights.safetensors", "")
    put("net/network.json", json.dumps({"kind": "prnet"}))
    put("net/weights.safetensors", "")
    put("runs/ended/config.json", config_lib.to_json(PRNetConfig()))
    put("runs/ended/network.json", json.dumps({"kind": "prnet"}))
    put("runs/ended/weights.safetensors", "")
    put("old/config.json", config_lib.to_json(Config()))
    put("old/weights.npz", "")
    put("lost/weights.safetensors", "")
    put("ffhq.pkl", pickle.dumps(1, 4))
    put("my faces.pt", "PK\x03\x04")
    put("snapshot", pickle.dumps(1, 2))
    put("prnet_weight.index", "")
    put("face.png", "\x89PNG")
    put("downloads/a.pth", "")
    put("photos/0.png", "")
    (tmp_path / "empty").mkdir()
    return tmp_path


CONVERT = "by `python -m experiments.convert --source="
TRAIN = "train into it by `python -m experiments.train --workdir="


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (
            "ffhq.pkl",
            f"ffhq.pkl is a file of weights, not a directory; convert it {CONVERT}ffhq.pkl --out=ffhq`, then g",
        ),
        (
            "my faces.pt",
            f"my faces.pt is a file of weights, not a directory; convert it {CONVERT}'my faces.pt' --out='my",
        ),
        (
            "snapshot",
            f"snapshot is a file of weights, not a directory; convert it {CONVERT}snapshot --out=snapshot_model`",
        ),
        (
            "prnet_weight",
            f"prnet_weight is a checkpoint of TensorFlow, not a directory; convert it {CONVERT}prnet_weight ",
        ),
        ("face.png", "face.png is a file; give a directory"),
        (
            "downloads",
            f"downloads has no config.json; convert it {CONVERT}downloads/a.pth --out=downloads/a`, then give do",
        ),
        ("none.pkl", f"none.pkl does not exist; a file of weights is converted {CONVERT}FILE --out=DIR`"),
        ("none", f"none does not exist; {TRAIN}none`, or give a training workdir or a model directory"),
        ("empty", f"empty has no config.json: it is empty; {TRAIN}empty`"),
        (
            "photos",
            "photos is not a model directory: it has no config.json; give a training workdir or a model directory",
        ),
        ("runs", "runs has no config.json; give runs/ended (or another of the 4 model directories in it)"),
        ("model/weights.safetensors", "model/weights.safetensors is part of the directory model; give model"),
        ("old/weights.npz", "old/weights.npz is part of the directory old; give old"),
        ("lost", "lost is not a model directory: it has no config.json; give a training workdir or a"),
        ("lost/weights.safetensors", "lost/weights.safetensors is a file; give a directory"),
        ("model/config.json", "model/config.json is part of the directory model; give model"),
        ("runs/gan/checkpoints", "runs/gan/checkpoints is part of the directory runs/gan; give runs/gan"),
        ("runs/gan/checkpoints/", "runs/gan/checkpoints is part of the directory runs/gan; give runs/gan"),
        ("runs/gan/checkpoints/1500/state", "runs/gan/checkpoints/1500/state is part of the directory runs/gan; give"),
        (
            "runs/gan/checkpoints/1500/state/d/x",
            "runs/gan/checkpoints/1500/state/d/x is part of the directory runs/gan; ",
        ),
        ("runs/gan/samples", "runs/gan/samples is part of the directory runs/gan; give runs/gan"),
        ("runs/gan/best", "runs/gan/best does not exist in the directory runs/gan; give runs/gan"),
        ("net", "net is a network directory (prnet), not the model directory of a GAN; it goes into --network of exp"),
        ("net/weights.safetensors", "net/weights.safetensors is part of the directory net; give net"),
        ("runs/ended", "runs/ended is a network directory (prnet), not the model directory of a GAN; it goes into"),
        (
            "runs/prnet",
            "runs/prnet holds a run of PRNet (64 pixels), not of a GAN; its network, written when the run en",
        ),
        (
            "runs/prnet/checkpoints/1500",
            "runs/prnet holds a run of PRNet (64 pixels), not of a GAN; its network, writt",
        ),
        (
            "runs/identity",
            "runs/identity holds a run of the identity network (64 pixels), not of a GAN; its network, wr",
        ),
    ],
)
def test_what_is_no_model(home, path, line):
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        sdgan_jax.load(path)
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value), raised.value


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (
            "prnet_weight.index",
            f"prnet_weight.index is a file of weights, not a directory; convert it {CONVERT}prnet_weig",
        ),
        (
            "prnet_weight",
            f"prnet_weight is a checkpoint of TensorFlow, not a directory; convert it {CONVERT}prnet_weight ",
        ),
        (
            "model",
            "model holds a run of a GAN (256 pixels), which --model takes; give a network directory of the kind pr",
        ),
        (
            "runs/gan",
            "runs/gan holds a run of a GAN (256 pixels), which --model takes; give a network directory of the k",
        ),
        (
            "runs/prnet",
            "runs/prnet holds a run of PRNet (64 pixels) that has not ended; run the same training again to e",
        ),
        (
            "runs/identity",
            "runs/identity holds a run of the identity network (64 pixels); give a network directory of th",
        ),
        (
            "runs/prnet/checkpoints/1500",
            "runs/prnet/checkpoints/1500 is part of the directory runs/prnet; give runs/prn",
        ),
        ("net/weights.safetensors", "net/weights.safetensors is part of the directory net; give net"),
        ("none", "none does not exist; give a network directory of the kind prnet or mesh"),
        ("empty", "empty has no network.json; give a network directory of the kind prnet or mesh"),
        ("downloads", f"downloads has no network.json; convert it {CONVERT}downloads/a.pth --out=downloads/a`"),
    ],
)
def test_what_is_no_network(home, path, line):
    with pytest.raises(FileNotFoundError) as raised:
        pretrained.position_network(path)
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value), raised.value


@pytest.mark.parametrize("theirs", KINDS)
@pytest.mark.parametrize("ours", KINDS)
def test_runs_of_other_kinds_are_told_apart(home, theirs, ours):
    names = {"gan": "a GAN", "prnet": "PRNet", "identity": "the identity network"}
    workdir = f"runs/{theirs}"
    if theirs == ours:
        workdir_lib.save_config(workdir, KINDS[ours])
        assert workdir_lib.load_config(workdir, type(KINDS[ours])) == KINDS[ours]
        return
    size = {"gan": 256, "prnet": 64, "identity": 64}[theirs]
    line = f"{workdir} holds a run of {names[theirs]} ({size} pixels), not of {names[ours]}; give another --workdir"
    with pytest.raises(ValueError) as raised:
        workdir_lib.save_config(workdir, KINDS[ours])
    assert str(raised.value) == line
    # Also where another version of the program wrote it, whose fields were not quite the same.
    values = json.loads((home / workdir / "config.json").read_text())
    del values["log_every"]
    (home / workdir / "config.json").write_text(json.dumps(values | {"an_old_field": 1}))
    with pytest.raises(ValueError, match="holds a run of "):
        workdir_lib.load_config(workdir, type(KINDS[ours]))
    with pytest.raises(ValueError, match="an_old_field is unknown; it was written by another version"):
        workdir_lib.load_config(workdir, type(KINDS[theirs]))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "it is not JSON: "),
        (b"{", "it is not JSON: "),
        (b'{"dataset": "\xe9"}', "it is not UTF-8 text"),
        ("{}".encode("utf-16"), "it is not UTF-8 text"),
        (b"[]", "it is not a JSON object"),
        (b"7", "it is not a JSON object"),
        (b"[" * 100_000, "it is not JSON: its brackets are nested too deeply"),
        (b'{"generator": [1]}', "config.generator is [1]; it must be a group of fields"),
        (b'{"losses": {"r1": {}}}', "config.losses.r1 is {}; it must be a number"),
        (b'{"attributes": 3}', "config.attributes is 3; it must be a list"),
        (b'{"attributes": "none"}', "config.attributes is 'none'; it must be a list"),
        (b'{"attributes": [["none"]]}', "config.attributes is ['none']; it must be text"),
        (b'{"resolution": [256]}', "config.resolution is [256]; it must be a whole number"),
        (b'{"resolution": "256"}', "config.resolution is '256'; it must be a whole number"),
        (b'{"resolution": 1e400}', "config.resolution is inf; it must be a whole number"),
        (b'{"generator": {"latent_dim": 1' + b"0" * 400 + b"}}", "config.generator.latent_dim is 1000"),
        (b'{"losses": {"r1": 1' + b"0" * 400 + b"}}", "config.losses.r1 is 1000"),
        (b'{"losses": {"r1": NaN}}', "config.losses.r1 is nan; it must be"),
        (b'{"losses": {"r1": ' + b"1" * 10_000 + b"}}", "it is not JSON: "),
        (b'{"generator": {"remat": 1}}', "config.generator.remat is 1; it must be true or false"),
    ],
)
def test_a_damaged_config_gets_one_line(tmp_path, content, line):
    (tmp_path / "config.json").write_bytes(content)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ValueError) as raised:
        sdgan_jax.load(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'config.json'}: {line}"), raised.value
    assert "\n" not in str(raised.value)


def test_a_config_of_absurd_sizes_gets_one_line(tmp_path):
    """Numbers that are in their ranges one by one, but make no network."""
    config = Config(resolution=8, dataset="faces")
    config.discriminator.channels = (2**31 - 1, 2**31 - 1)
    (tmp_path / "config.json").write_text(config_lib.to_json(config))
    archive.write(tmp_path / "weights.safetensors", {"a": np.zeros(1)})
    with pytest.raises(ValueError, match=r"config.json") as raised:
        sdgan_jax.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_safetensors_go_before_the_old_format(tmp_path):
    assert directories.weights_of(tmp_path) is None
    for name in ("weights.npz", "weights.safetensors"):
        (tmp_path / name).write_bytes(b"")
        assert directories.weights_of(tmp_path) == tmp_path / name


def test_the_path_of_a_checkpoint(home, monkeypatch):
    split = directories.checkpoint_of
    assert [str(part) for part in split("runs/gan/checkpoints/1500")] == ["runs/gan", "1500"]
    assert [str(part) for part in split("runs/gan/checkpoints/1500/")] == ["runs/gan", "1500"]
    assert split("runs/gan/checkpoints/9")[1] == 9  # which is not there: the message lists those that are
    (home / "latest").symlink_to("runs/gan/checkpoints/1500")
    assert split("latest") == (home / "runs/gan", 1500)
    assert split("runs/gan")[1] is None and split("runs/gan/checkpoints/best")[1] is None
    assert split("photos/checkpoints/1")[1] is None
    monkeypatch.chdir(home / "runs/gan/checkpoints/1500")
    assert split(".") == (home / "runs/gan", 1500)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        pytest.param(
            ["--workdir=runs/prnet"],
            "error: runs/prnet holds a run of PRNet (64 pixels), not of a GAN; give another",
            marks=pytest.mark.slow,
        ),
        (
            ["--workdir=new", "--config.init=ffhq.pkl"],
            "error: ffhq.pkl is a file of weights, not a directory; convert it",
        ),
    ],
)
def test_training_is_refused_before_data_are_prepared(home, flags, line):
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-m", "experiments.train", "--config.data_dir=data", *flags]
    environment = os.environ | {"PYTHONPATH": str(root)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)
    (printed,) = own_lines(result.stderr)
    assert result.returncode == 1 and printed.startswith(line)
    assert not (home / "data").exists() and not (home / "new").exists()


def test_a_run_with_checkpoints_no_longer_needs_the_model_it_started_from(home):
    config = Config(resolution=8, dataset="faces", init="gone")
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        recipe.check(config, "new")
    recipe.check(config, "runs/gan")


def test_networks_that_a_config_names_are_checked_when_they_are_read(home):
    config = Config(resolution=8, dataset="faces")
    config.losses.identity_of, config.losses.identity_network = "embeddings", "net"
    with pytest.raises(ValueError, match="net is a network of the kind prnet; one of the kind identity is needed"):
        make_networks(config)
    config = Config(resolution=8, dataset="faces")
    config.fusion.use_3d, config.fusion.position_network = True, "model"
    with pytest.raises(
        FileNotFoundError, match="model holds a run of a GAN .*; give a network directory of the kind p"
    ):
        make_networks(config)
