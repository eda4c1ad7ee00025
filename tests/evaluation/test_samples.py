"""Samples: every latent once, the same for the same seed; the real images that they are compared with."""

import types

import numpy as np
import pytest

from sdgan_jax import config as config_lib
from sdgan_jax.evaluation import samples


def test_draw_takes_every_latent_once():
    asked = []

    def generate(z, attribute):
        asked.append((attribute, z.shape))
        return np.asarray(z)[:, :3].reshape(-1, 1, 1, 3) / 10

    model = types.SimpleNamespace(config=config_lib.Config(), generate=generate)
    drawn = samples.draw_samples(model, ("none", "mask"), 40, seed=5)
    assert {shape for _, shape in asked} == {(32, 512)} and len(asked) == 4
    assert all(len(np.unique(images.reshape(40, 3), axis=0)) == 40 for images in drawn.values())
    again = samples.draw_samples(model, ("none", "mask"), 40, seed=5)
    np.testing.assert_array_equal(drawn["mask"], again["mask"])


@pytest.mark.parametrize(
    "dataset, resolution, expected",
    [
        ("megn/rendered_64", 64, "rendered_64"),
        ("megn/rendered_32_n600", 32, "rendered_32_n600"),
        ("megn/rendered_64:1.0.0", 64, "rendered_64"),
        ("megn/photos_128", 128, "rendered_128"),
        ("megn/photos_1024", 1024, "rendered_256"),
        ("mnist", 16, "rendered_32"),
    ],
)
def test_what_a_model_is_held_against(dataset, resolution, expected):
    assert samples.rendered_config(dataset, resolution) == expected
