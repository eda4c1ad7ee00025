"""The tab Generate, without Gradio: what it draws with random weights, and with those of a public file."""

import re

import numpy as np
import pytest

import sdgan_jax
from sdgan_jax.demo import generate_tab
from sdgan_jax.demo.limits import Limits
from sdgan_jax.demo.studio import Studio
from sdgan_jax.importers import formats
from sdgan_jax.photos.editing import Edit
from sdgan_jax.training.gan import weights
from tests import models
from tests.demo.test_opened_photo import encode
from tests.demo.test_views import decode
from tests.face3d.test_finding import painted
from tests.importers import files, states
from tests.photos.test_wearing import FINDER

CLASSES = 3


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A studio with a conditional StyleGAN2 of a public file: no attributes, no F, no E."""
    folder = tmp_path_factory.mktemp("converted")
    state_g = states.nvlabs_g(files.WIDTHS, files.DIM, files.LAYERS, CLASSES)
    (folder / "face.pkl").write_bytes(files.nvlabs_pickle(state_g, None))
    parts = formats.read(folder / "face.pkl")[1]
    weights.write(folder / "model", parts.config, parts.trees)
    return Studio(sdgan_jax.load(folder / "model"), FINDER, Limits())


def draw(studio, *strengths, label=0):
    """Returns the labels of the pictures, the pictures, and the name of the file to download."""
    shown = generate_tab._draw(studio, 7.0, label, 0.5, False, None, 0, *strengths)
    faces = [decode(address) for address in re.findall(r'<figure><img src="([^"]*)"', shown)]
    return re.findall("<figcaption>(.*?)</figcaption>", shown), faces, re.findall(r'download="(.*?)"', shown)


def test_a_face_is_shown_without_and_with_its_attributes():
    studio = Studio(models.make(models.W_SPACE), FINDER, Limits())
    labels, (before, after), names = draw(studio, *[0.5] + [0.0] * (len(studio.attributes) - 1))
    assert (labels, names) == (["Seed 7", "mask 0.5"], ["mask_seed0007.png"])
    assert (before != after).any()


def test_a_converted_model_draws_the_face_alone(converted):
    labels, (face,), names = draw(converted)
    assert (labels, names, face.shape) == (["Seed 7"], ["none_seed0007.png"], (16, 16, 3))
    _, (other,), _ = draw(converted, label=2)
    assert (face != other).any()
    with pytest.raises(ValueError, match="the class is 3; the classes are 0 to 2"):
        draw(converted, label=CLASSES)


def test_a_converted_model_says_what_it_lacks_and_gives_an_example(converted):
    assert "\n" not in converted.explain_missing()
    token = converted.open(encode(painted(240, 300, 150, 120, 150)), "me.png")
    with pytest.raises(ValueError, match="a plain StyleGAN2 without attributes: it draws faces and edits none"):
        converted.edit(token, ["1"], Edit(["mask"]))
    example = converted.draw_example("by the model")
    assert example.shape == (384, 384, 3) and example.dtype == np.uint8 and example.std() > 0
