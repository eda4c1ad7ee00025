"""Samples of a model, and the real images that they are compared with."""

from __future__ import annotations

import re
from typing import Any

import jax
import numpy as np
from tqdm import auto as tqdm

from sdgan_jax import pictures

MIN_RESOLUTION, MAX_RESOLUTION = 32, 256  # of the rendered data sets
_GENERATE_BATCH = 32


def draw(
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
    batch = min(_GENERATE_BATCH, per_class)
    generated = {}
    total = per_class * len(names)
    with tqdm.tqdm(total=total, desc="Drawing samples", unit="img", mininterval=0.5, disable=quiet) as bar:
        for i, name in enumerate(names):
            key = jax.random.fold_in(jax.random.key(seed), i)
            latents = jax.random.normal(key, (per_class, model.config.generator.latent_dim))
            images = []
            for start in range(0, per_class, batch):
                z = latents[(start + np.arange(batch)) % per_class]  # one shape: one compile
                made = jax.device_get(model.generate(z, attribute=name))[: per_class - start]
                images.append(pictures.to_uint8(made))
                bar.update(len(made))
            generated[name] = np.concatenate(images)
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
