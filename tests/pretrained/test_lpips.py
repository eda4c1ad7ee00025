"""LPIPS: read from a directory, and what is refused."""

import jax
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.nets.lpips import Lpips
from tests.pretrained.settings import change
from tests.random_arrays import noise, weights

WIDTHS = [3, 4, 5, 4, 3]
IMAGES = np.zeros((1, 31, 31, 3), np.float32)


def test_a_directory_gives_the_distance_of_its_network(tmp_path):
    net = Lpips("alexnet", tuple(WIDTHS))
    variables = weights(net, IMAGES, IMAGES)
    pretrained.write(tmp_path, "lpips", {"trunk": "alexnet", "widths": WIDTHS}, variables)
    network = pretrained.lpips_network(tmp_path)
    a, b = noise(2, 32, 32, 3), noise(2, 32, 32, 3, seed=1)
    np.testing.assert_allclose(jax.jit(network)(a, b), jax.jit(net.apply)(variables, a, b), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda a, b: network.distance_to(b)(a))(a, b), network(a, b), rtol=1e-6)
    program = str(jax.make_jaxpr(network)(a, b))
    assert "HIGHEST" in program and "precision=None" not in program
    with pytest.raises(ValueError, match=r"images must be \[N,R,R,3\], got \[2, 32, 31, 3\]"):
        network(a[:, :, 1:], b[:, :, 1:])
    with pytest.raises(ValueError, match=r"both batches must be .*; got \[2, 32, 32, 3\] and \[1, 32, 32, 3\]"):
        network(a, b[1:])


def test_a_missing_network_names_the_public_files(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        pretrained.lpips_network(tmp_path / "none")
    assert str(error.value) == (
        f"{tmp_path}/none does not exist; give a network directory of the kind lpips, made by `python -m "
        "experiments.convert --source=FILE --out=DIR` of vgg16-397923af.pth or alexnet-owt-7be5be79.pth, published by "
        "torchvision, beside vgg.pth or alex.pth from lpips/weights/v0.1 of the PyPI package lpips"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trunk": "squeezenet"}, "describes no network: trunk must be one of vgg16, alexnet"),
        ({"widths": [3, 4]}, "describes no network"),
        ({"widths": [0, 4, 5, 4, 3]}, "describes no network: widths is .0, 4, 5, 4, 3.; it must be from 1 to 16384"),
        ({"widths": None}, "lacks the setting 'widths'"),
        ({"widths": [3, 4, 5, 4, 4]}, "does not fit its network.json: 3 arrays differ"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, line):
    variables = weights(Lpips("alexnet", tuple(WIDTHS)), IMAGES, IMAGES)
    pretrained.write(tmp_path, "lpips", {"trunk": "alexnet", "widths": WIDTHS}, variables)
    change(**changes)(tmp_path)
    with pytest.raises(ValueError, match=line):
        pretrained.lpips_network(tmp_path)
