"""`python -m experiments.convert` as a user types it."""

import os
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import sdgan_jax
from sdgan_jax import pretrained
from sdgan_jax.nets.prnet import ResFCN
from tests.importers import states, writer

STATE_G, STATE_D = states.nvlabs_g((8, 6, 10), 12, 2), states.nvlabs_d((8, 6, 10))


class Evil:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.fixture
def run(tmp_path):
    def run(name, *arguments):
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", f"experiments.{name}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return run


@pytest.mark.slow
def test_in_used_and_out_again(run, tmp_path):
    tree = {"g_ema": states.rosinality_g(STATE_G), "d": states.rosinality_d(STATE_D)}
    (tmp_path / "face.pt").write_bytes(writer.torch_zip(tree))
    result = run("convert", "--source=face.pt", "--out=model")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "face.pt (rosinality): 16 pixels, 2 mapping layers; model in model",
        "note: the file has no average w; it was computed from 10000 latents",
    ]
    result = run("generate", "--model=model", "--seeds=0-1", "--out=faces")
    assert (result.returncode, result.stderr) == (0, "")
    model = sdgan_jax.load(tmp_path / "model")
    assert set(model.params) == {"G", "D", "basis", "w_avg"}
    logits, attribute_logits = model.discriminate(np.zeros((2, 16, 16, 3), np.float32))
    assert logits.shape == (2,) and attribute_logits is None
    pytest.importorskip("torch")
    result = run("convert", "--source=model", "--format=rosinality", "--out=back.pt")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("model: 16 pixels, 2 mapping layers; checkpoint in back.pt\n")
    before = (tmp_path / "back.pt").read_bytes()
    result = run("convert", "--source=model", "--format=rosinality", "--out=back.pt")
    assert (result.returncode, result.stderr) == (1, "error: --out=back.pt is a file; give a new one\n")
    assert (tmp_path / "back.pt").read_bytes() == before


@pytest.mark.slow
def test_networks_that_are_no_gan(run, tmp_path):
    """Each becomes a network directory, told by its keys; PRNet without its UV files is of no use to wear."""
    torch = pytest.importorskip("torch")

    def tensors(state):
        return {key: torch.as_tensor(array) for key, array in state.items()}

    torch.save(tensors(states.irse((1, 2), (16, 32), 3, 8)), tmp_path / "id.pth")
    sizes = (16, 16, 32, 48), (4, 5, 6, 7)
    torch.save({"model": tensors(states.sfn(*sizes, 2, 6)), "epoch": 3}, tmp_path / "sfn.pth")
    result = run("convert", "--source=id.pth", "--out=id")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "id.pth (irse50): identity network of 12 pixels, embeddings of 8 numbers; network in id",
        "note: it crops aligned photos as IR-SE50 does; for faces that are cropped already, set crop: null in "
        "network.json",
    ]
    assert pretrained.identity_network(tmp_path / "id").resolution == 12
    result = run("convert", "--source=sfn.pth", "--format=sfn", "--out=sfn")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "sfn.pth (sfn): official fusion network of 32 pixels, 6 layers; network in sfn\n"
    assert pretrained.fusion_network(tmp_path / "sfn").net.settings.style_widths == sizes[1]
    result = run("convert", "--source=sfn.pth", "--format=irse50", "--out=other")
    line = "error: sfn.pth is of the format sfn, not irse50; leave --format=auto\n"
    assert (result.returncode, result.stderr) == (1, line)
    net = ResFCN(256, 1)
    shapes = jax.eval_shape(net.init, jax.random.key(0), np.zeros((1, 256, 256, 3), np.float32))
    settings = {"size": 256, "channels": 1, "layout": "prnet", "depth_offset": 0.0}
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    pretrained.write(tmp_path / "prnet", "prnet", settings, zeros)
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    result = run("wear", "--network=prnet", "--input=photo.png", "--attribute=mask", "--out=worn")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: the position network came without PRNet's uv_kpt_ind.txt")


def test_flags_of_files_are_refused_with_a_folder(run, tmp_path):
    (tmp_path / "model").mkdir()
    result = run("convert", "--source=model", "--lpips_heads=none", "--prnet_uv=none", "--out=new")
    line = "--prnet_uv, --lpips_heads belong to files of public weights, and --source=model is a folder; leave them out"
    assert (result.returncode, result.stderr) == (1, f"error: {line}\n")
    assert os.listdir(tmp_path) == ["model"]


def test_a_mistake_gets_one_line_and_leaves_nothing(run, tmp_path):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": Evil()}))
    result = run("convert", "--source=evil.pkl", "--out=new")
    assert result.returncode == 1 and result.stdout == ""
    line = "error: evil.pkl wants to call posix.system; it is refused: files of weights"
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1, result.stderr
    assert os.listdir(tmp_path) == ["evil.pkl"]
