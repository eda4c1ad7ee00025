"""LPIPS of the files of torchvision and of the package lpips; tests/nets/test_lpips.py tests its distances."""

import os
import pathlib

import jax
import numpy as np
import pytest
from etils import epath

from sdgan_jax import pretrained
from sdgan_jax.importers import conversion, formats, lpips
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.lpips import Lpips
from tests.importers import metric_states, writer
from tests.importers.metric_states import ALEX, VGG
from tests.nets import torch_packages
from tests.random_arrays import noise

WIDTHS = (3, 4, 5, 4, 2)


@pytest.mark.parametrize(
    ("layers", "trunk", "name", "numbers"),
    [(VGG, "vgg16", "vgg.pth", {"2_1": 12, "4_2": 28}), (ALEX, "alexnet", "alex.pth", {"1_0": 3, "4_0": 10})],
)
def test_a_trunk_and_the_heads_beside_it(tmp_path, layers, trunk, name, numbers):
    """The trunk in the newer format of torch and the heads in the older one, as they are published."""
    state, heads = metric_states.trunk(layers, WIDTHS), metric_states.heads(WIDTHS)
    (tmp_path / "trunk.pth").write_bytes(writer.torch_zip(state))
    (tmp_path / name).write_bytes(writer.torch_legacy(heads))
    (tmp_path / "elsewhere").mkdir()
    for place in ("", tmp_path / "elsewhere" / "heads.pth"):
        if place:
            (tmp_path / name).rename(place)
        found, network = formats.read(tmp_path / "trunk.pth", lpips_heads=place)
        assert (found, network.kind) == ("lpips", "lpips")
        assert network.settings == {"trunk": trunk, "widths": WIDTHS}
        params = network.variables["params"]
        for conv, number in numbers.items():
            kernel = state[f"features.{number}.weight"]
            np.testing.assert_array_equal(params[f"conv_{conv}"]["kernel"], kernel.transpose(2, 3, 1, 0))
            np.testing.assert_array_equal(params[f"conv_{conv}"]["bias"], state[f"features.{number}.bias"])
        np.testing.assert_array_equal(params["head_3"], heads["lin3.model.1.weight"][0, :, 0, 0])
        assert len(params) == len(layers) + 5


def test_files_become_a_directory_that_gives_distances(tmp_path, capsys):
    (tmp_path / "alexnet.pth").write_bytes(writer.torch_zip(metric_states.trunk(ALEX, WIDTHS)))
    (tmp_path / "heads.pth").write_bytes(writer.torch_legacy(metric_states.heads(WIDTHS)))
    source, out = (epath.Path(tmp_path / name) for name in ("alexnet.pth", "out"))
    assert conversion.read_weights(source, "auto", out, lpips_heads=str(tmp_path / "heads.pth")) == []
    assert capsys.readouterr().out == f"{source} (lpips): LPIPS with alexnet; network in {out}\n"
    settings, variables = lpips.variables_of(metric_states.trunk(ALEX, WIDTHS), metric_states.heads(WIDTHS))
    a, b = noise(1, 31, 31, 3), noise(1, 31, 31, 3, seed=1)
    expected = jax.jit(Lpips(**settings).apply)(variables, a, b)
    np.testing.assert_array_equal(jax.jit(pretrained.lpips_network(out))(a, b), expected)


def test_missing_or_other_heads_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state, heads = metric_states.trunk(ALEX, WIDTHS), metric_states.heads(WIDTHS)
    pathlib.Path("alexnet.pth").write_bytes(writer.torch_zip(state))
    pathlib.Path("vgg.pth").write_bytes(writer.torch_legacy(metric_states.heads((7, 4, 5, 4, 2))))
    pathlib.Path("heads.pth").write_bytes(writer.torch_legacy(heads))
    with pytest.raises(FileNotFoundError) as error:
        formats.read("alexnet.pth")
    assert str(error.value) == (
        "alexnet.pth is a trunk of LPIPS, and alex.pth does not exist; give the file of its heads by --lpips_heads: "
        "lpips/weights/v0.1/alex.pth of the PyPI package lpips"
    )
    for path, line in (
        ("alexnet.pth", "alexnet.pth does not hold the heads of LPIPS, as lpips/weights/v0.1/alex.pth does"),
        ("vgg.pth", "LPIPS does not fit LPIPS with alexnet; 1 misshaped .lin0.model.1.weight is .1, 7, 1, 1., exp"),
    ):
        with pytest.raises(FileError, match=line):
            formats.read("alexnet.pth", lpips_heads=path)
    os.mkfifo("pipe.pth")
    with pytest.raises(ValueError, match="^pipe.pth is a pipe or device; give a file$"):
        formats.read("alexnet.pth", lpips_heads="pipe.pth")
    with pytest.raises(ValueError, match="^pipe.pth is a pipe or device; give a file of weights"):
        formats.read("pipe.pth")
    with pytest.raises(FileError, match="heads.pth holds the heads of LPIPS alone; give the trunk, a file of torchv"):
        formats.read("heads.pth")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"features.3.bias": None}, r"1 missing \(features.3.bias\)"),
        ({"features.3.weight": np.ones(3, np.float32)}, r"features.3.weight is \[3\], expected \[192, 3, 5, 5\]"),
        ({"features.4.bias": np.ones(3, np.float32)}, r"1 unexpected \(features.4.bias\)"),
        ({"features.3.weight": None}, "holds neither torchvision's VGG16 nor its AlexNet"),
    ],
)
def test_faults_are_named(change, line):
    state = {k: v for k, v in (metric_states.trunk(ALEX, WIDTHS) | change).items() if v is not None}
    with pytest.raises(FileError, match=line):
        lpips.variables_of(state, metric_states.heads(WIDTHS))


def test_only_the_two_trunks_are_known():
    vgg = metric_states.trunk(VGG, WIDTHS)
    assert lpips.is_trunk(vgg) and lpips.is_trunk(f"module.{key}" for key in vgg)
    assert not lpips.is_trunk([*vgg, "features.30.weight"]) and not lpips.is_trunk(["features.0.weight"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trunk"), [("vgg", "vgg16"), ("alex", "alexnet")])
def test_the_heads_of_the_package_are_read(name, trunk):
    torch = torch_packages.load("lpips")
    import lpips as package

    file = pathlib.Path(package.__file__).parent / f"weights/v0.1/{name}.pth"
    expected = torch.load(file, map_location="cpu")  # saved on a GPU
    for key, array in lpips.read_heads("trunk.pth", trunk, file).items():
        np.testing.assert_array_equal(array, expected[key].numpy())
        assert array.min() >= 0
