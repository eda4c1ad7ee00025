"""Pictures to try the page on, all of them drawn: no photo of a person comes with the project."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdgan_jax import latents, pictures
from tfds_megn import params
from tfds_megn.render import render

NAMES = ("portrait", "group", "by the model")
_PORTRAIT, _FACE = 512, 288  # pixels
_PEOPLE = (3, 12, 25)  # persons of `tfds_megn`
_SIDE = 384  # pixels of a face of a model with a lower resolution


def draw(name: str, model: Any) -> np.ndarray:
    """Draws an example.

    Args:
        name: one of `NAMES`.
        model: see `sdgan_jax.load`.

    Returns:
        u8[H,W,3].
    """
    if name == "portrait":
        return render(params.sample_params(_PEOPLE[0]), "none", _PORTRAIT)
    if name == "group":
        return np.concatenate([render(params.sample_params(person), "none", _FACE) for person in _PEOPLE], 1)
    config = model.config
    z, classes = latents.from_seeds([5], config.generator.latent_dim), config.generator.label_dim
    label = np.zeros(1, np.int64) if classes else None
    face = pictures.to_uint8(np.asarray(model.generate(z, truncation=0.7, label=label)))[0]
    side = max(_SIDE, config.resolution)
    return pictures.resize(face, side, side)
