"""Faces drawn from random seeds, with a strength for each attribute and the styles of two seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from sdgan_jax import latents, pictures


class Recipe(NamedTuple):
    """A request for generated faces.

    Attributes:
        seed: random seed of the face.
        strengths: strength of each attribute by its name; 0 leaves it out, 1 is as trained.
        truncation: psi; below 1 trades variety for typical faces.
        second_seed: random seed of a second face, from which the layers from `crossover` on are taken; None for none.
        crossover: number of layers taken from the first face, the coarse ones.
        label: class, for conditional networks.
    """

    seed: int
    strengths: Mapping[str, float]
    truncation: float = 1.0
    second_seed: int | None = None
    crossover: int = 0
    label: int = 0


class Generator:
    """Draws pairs of faces with a model. The shapes are fixed: everything is compiled once."""

    def __init__(self, model: Any):
        """Takes the model, see `sdgan_jax.load`; its `config`, `nets`, `params` and `synthesize` are used."""
        self.model = model
        self._to_w_plus = jax.jit(model.nets.to_w_plus)

    def draw(self, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
        """Draws a face without and with its attributes, by the prior basis alone as `Model.generate`.

        Args:
            recipe: the face.

        Returns:
            Both faces, u8[R,R,3].

        Raises:
            ValueError: an attribute is unknown, or a number is out of its range.
        """
        config, params = self.model.config, self.model.params
        _check(recipe, config.num_layers, config.generator.label_dim)
        weights = np.zeros((4, len(config.attributes)), np.float32)
        for name, strength in recipe.strengths.items():
            if name not in config.attributes[1:]:
                raise ValueError(f"unknown attribute {name!r}; the known ones are {', '.join(config.attributes[1:])}")
            weights[2:, config.attributes.index(name)] = strength
        second = recipe.seed if recipe.second_seed is None else recipe.second_seed
        z = latents.from_seeds([recipe.seed, second] * 2, config.generator.latent_dim)  # [4,D]
        classes = config.generator.label_dim
        label = np.eye(classes, dtype=np.float32)[[recipe.label] * 4] if classes else None
        w_plus = self._to_w_plus(
            params["G"], z, weights, params["basis"], label, w_avg=params["w_avg"], truncation=recipe.truncation
        )
        crossover = config.num_layers if recipe.second_seed is None else recipe.crossover
        images = self.model.synthesize(latents.mix(w_plus[::2], w_plus[1::2], crossover))  # [2,R,R,3]
        before, after = pictures.to_uint8(np.asarray(images))
        return before, after


def _check(recipe: Recipe, layers: int, classes: int) -> None:
    """Raises `ValueError` for numbers out of their ranges; a page can be sent any."""
    if not np.isfinite([recipe.truncation, *recipe.strengths.values()]).all():
        raise ValueError("truncation and strengths must be finite numbers")
    for seed in (recipe.seed, recipe.second_seed or 0):
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    if not 0 <= recipe.crossover <= layers:
        raise ValueError(f"the crossover is {recipe.crossover}; the layers are 0 to {layers}")
    if classes and not 0 <= recipe.label < classes:
        raise ValueError(f"the class is {recipe.label}; the classes are 0 to {classes - 1}")
