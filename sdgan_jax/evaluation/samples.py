"""Samples of a model, and the real images that they are compared with."""

from __future__ import annotations

import functools
import re
from typing import Any

import jax
import numpy as np
from tqdm import auto as tqdm

from sdgan_jax import pictures
from sdgan_jax.data.batches import map_batches

MIN_RESOLUTION, MAX_RESOLUTION = 32, 256  # of the rendered data sets
_BATCH = 32


def draw_samples(
    model: Any, names: tuple[str, ...], per_class: int, seed: int = 0, quiet: bool = False
) -> dict[str, np.ndarray]:
    """Draws `per_class` samples of each attribute.

    Args:
        model: `generate(z, attribute=name)` and `config.generator.latent_dim` are used.
        names: the attributes.
        per_class: samples of each.
        seed: attribute i draws its latents from `fold_in(key(seed), i)`.
        quiet: without a progress bar.

    Returns:
        u8[per_class,R,R,3] for each attribute.
    """
    count = len(names) * -(-per_class // _BATCH)
    with tqdm.tqdm(total=count, desc="Drawing samples", unit="batch", mininterval=0.5, disable=quiet) as bar:

        def generate(z: jax.Array, name: str) -> np.ndarray:
            images = pictures.to_uint8(jax.device_get(model.generate(z, attribute=name)))
            bar.update()
            return images

        generated = {}
        for i, name in enumerate(names):
            key = jax.random.fold_in(jax.random.key(seed), i)
            latents = jax.random.normal(key, (per_class, model.config.generator.latent_dim))
            generated[name] = map_batches(functools.partial(generate, name=name), latents, size=_BATCH)
    return generated


def rendered_config(dataset: str, resolution: int) -> str:
    """The rendered data set that a model is held against: its own, or the nearest in size.

    Args:
        dataset: the TFDS name the model was trained on.
        resolution: of the model, in pixels.

    Returns:
        Such as `rendered_64`.
    """
    match = re.fullmatch(r"megn/(rendered_\d+(_n\d+)?)(:.*)?", dataset)
    if match:
        return match[1]
    return f"rendered_{min(max(resolution, MIN_RESOLUTION), MAX_RESOLUTION)}"
