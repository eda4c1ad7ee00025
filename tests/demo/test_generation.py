"""Faces from seeds, on random weights, against the functions of the model."""

import jax
import numpy as np
import pytest

from sdgan_jax import latents, pictures
from sdgan_jax.demo.generation import Generator, Recipe
from tests import models
from tests.models import DIM, LAYERS, NAMES


@pytest.fixture(scope="module", params=["w", "z"])
def model(request):
    return models.make({"w": models.W_SPACE, "z": models.Z_SPACE}[request.param])


def z(seed):
    return np.asarray(jax.random.normal(jax.random.key(seed), (1, DIM)))


def close(image, expected):
    assert np.abs(image.astype(int) - pictures.to_uint8(np.asarray(expected))[0].astype(int)).max() <= 1


def test_a_face_is_that_of_generate(model):
    before, after = Generator(model).draw(Recipe(3, {"mask": 0.6}, truncation=0.8))
    close(before, model.generate(z(3), truncation=0.8))
    close(after, model.generate(z(3), "mask", strength=0.6, truncation=0.8))
    assert (before != after).any()


def test_strengths_are_those_of_each_attribute(model):
    _, both = Generator(model).draw(Recipe(3, {name: 1.0 for name in NAMES[1:]}))
    close(both, model.generate(z(3), list(NAMES[1:])))
    _, first = Generator(model).draw(Recipe(3, {NAMES[1]: 1.0, NAMES[2]: 0.0}))
    close(first, model.generate(z(3), NAMES[1]))


def test_the_layers_from_the_crossover_on_are_those_of_the_second_seed(model):
    generator = Generator(model)
    w_plus = [latents.broadcast_layers(model.map(z(seed)), LAYERS) for seed in (3, 5)]
    mixed = np.concatenate([w_plus[0][:, :1], w_plus[1][:, 1:]], 1)
    close(generator.draw(Recipe(3, {}, second_seed=5, crossover=1))[0], model.synthesize(mixed))
    close(generator.draw(Recipe(3, {}, second_seed=5, crossover=LAYERS))[0], model.generate(z(3)))
    close(generator.draw(Recipe(3, {}, second_seed=5, crossover=0))[0], model.generate(z(5)))


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        (Recipe(-1, {}), "seed is -1; it must be from 0 to 4294967295"),
        (Recipe(0, {}, second_seed=2**32), "seed is 4294967296; it must be"),
        (Recipe(0, {"hat": 1.0}), "unknown attribute 'hat'; the known ones are mask"),
        (Recipe(0, {}, second_seed=1, crossover=LAYERS + 1), f"the crossover is {LAYERS + 1}; the layers are 0 to"),
        (Recipe(0, {"mask": float("nan")}), "truncation and strengths must be finite numbers"),
    ],
)
def test_numbers_out_of_range_are_one_line(model, recipe, line):
    with pytest.raises(ValueError, match=line):
        Generator(model).draw(recipe)
