"""Files of FID's Inception v3; tests/nets/test_inception.py tests its outputs."""

import io
import os
import pickle
import zipfile

import flax.traverse_util
import numpy as np
import pytest

from sdgan_jax.importers import formats, inception
from sdgan_jax.importers.pickles import FileError
from tests.importers import metric_states, writer


@pytest.fixture(scope="module")
def state():
    return metric_states.inception()


@pytest.fixture(scope="module")
def variables(state):
    return flax.traverse_util.flatten_dict(inception.variables_of(state), sep="/")


def test_batch_normalisations_are_folded(state, variables):
    """Convolution, then (x - mean) / sqrt(var + 0.001) · weight + bias, for a pixel of each of four layers."""
    for path, key in (
        ("conv2d_1a_3x3", "Conv2d_1a_3x3"),
        ("mixed_5b/branch_pool", "Mixed_5b.branch_pool"),
        ("mixed_6e/branch7x7dbl_2", "Mixed_6e.branch7x7dbl_2"),
        ("mixed_7c/branch3x3_2a", "Mixed_7c.branch3x3_2a"),
    ):
        kernel = state[f"{key}.conv.weight"].astype(np.float64)  # [D,C,h,w]
        mean, var, scale, bias = (
            state[f"{key}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        window = np.random.default_rng(0).standard_normal(kernel.shape[1:])
        expected = ((kernel * window).sum((1, 2, 3)) - mean) / np.sqrt(var + 1e-3) * scale + bias
        ours = np.tensordot(window.transpose(1, 2, 0), variables[f"params/{path}/kernel"], 3)
        np.testing.assert_allclose(ours + variables[f"params/{path}/bias"], expected, atol=1e-5)
    np.testing.assert_array_equal(variables["params/fc/kernel"], state["fc.weight"].T)
    assert "params/fc/bias" not in variables


@pytest.mark.parametrize(
    "wrap", [lambda tree: tree, lambda tree: {"model": {f"module.{k}": v for k, v in tree.items()}}]
)
def test_a_file_becomes_the_network(tmp_path, state, variables, wrap):
    """Of torch-fidelity or pytorch-fid: without the counters of batches, and inside wrappers."""
    tree = {key: array for key, array in state.items() if "num_batches" not in key}
    (tmp_path / "x.pth").write_bytes(writer.torch_zip(wrap(tree)))
    found, network = formats.read(tmp_path / "x.pth")
    assert (found, network.kind, network.settings, network.notes) == ("inception", "inception", {}, [])
    read = flax.traverse_util.flatten_dict(network.variables, sep="/")
    assert read.keys() == variables.keys()
    for path, array in read.items():
        np.testing.assert_array_equal(array, variables[path], err_msg=path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"Mixed_6c.branch7x7_2.bn.bias": None}, "1 missing (Mixed_6c.branch7x7_2.bn.bias)"),
        ({"Mixed_6c.branch7x7_9.bn.bias": np.ones(3)}, "1 unexpected (Mixed_6c.branch7x7_9.bn.bias)"),
        ({"Mixed_5b.branch1x1.bn.bias": np.ones(3)}, "Mixed_5b.branch1x1.bn.bias is [3], expected [64]"),
        ({"Mixed_5b.branch1x1.bn.running_var": np.full(64, -1.0)}, "a negative variance (mixed_5b/branch1x1)"),
        ({"Mixed_5b.branch1x1.bn.bias": np.full(64, np.inf)}, "NaN or infinity; 1 not finite"),
        ({"fc.weight": np.ones((1000, 2048))}, "is torchvision's Inception v3, not the network of FID; take pt_incep"),
        ({"AuxLogits.fc.bias": np.ones(1000)}, "is torchvision's Inception v3, not the network of FID; take pt_incep"),
    ],
)
def test_faults_are_named(state, change, line):
    changed = {key: array for key, array in (state | change).items() if array is not None}
    with pytest.raises(FileError) as error:
        inception.variables_of(changed, "x.pth")
    assert str(error.value).startswith("x.pth") and line in str(error.value) and "\n" not in str(error.value)


def script():
    """The archive of a TorchScript program."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("data.pkl", "code/__torch__/net.py", "constants.pkl"):
            archive.writestr(f"inception-2015-12-05/{name}", b"x")
    return file.getvalue()


class Evil:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (script, "is a program of TorchScript, and nothing in a file is executed"),
        (
            lambda: writer.dumps(writer.nvlabs_network("InceptionV3", {"fc.weight": np.ones((2, 2), np.float32)})),
            "holds a single network of NVlabs; of their Inception, the network is a program there",
        ),
        (
            lambda: writer.dumps(writer.tf_network("inception_v3_features", {})),
            "holds a single network of NVlabs; of their Inception, the network is a program there",
        ),
        (lambda: pickle.dumps(Evil()), "it is refused: files of weights hold only arrays; of NVlabs' Inception, the"),
    ],
)
def test_the_files_of_nvlabs_are_refused_and_another_is_named(tmp_path, monkeypatch, make, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inception-2015-12-05.pkl").write_bytes(make())
    with pytest.raises(FileError) as error:
        formats.read("inception-2015-12-05.pkl")
    message = str(error.value)
    assert message.startswith("inception-2015-12-05.pkl ") and reason in message and "\n" not in message
    assert "take pt_inception-2015-12-05-6726825d.pth, published by the project pytorch-fid, or weights-" in message
    assert os.listdir() == ["inception-2015-12-05.pkl"]
