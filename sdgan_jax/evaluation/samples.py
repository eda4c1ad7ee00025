"""Generated images to measure a model on, and the rendered data set to compare them with."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from tqdm import auto as tqdm

from sdgan_jax import pictures
from sdgan_jax.data.batches import map_batches
from tfds_megn import names as dataset_names

_BATCH = 32


def draw_samples(
    model: Any, names: tuple[str, ...], per_class: int, seed: int = 0, quiet: bool = False
) -> dict[str, np.ndarray]:
    """Generates images of each attribute.

    Args:
        model: `generate(z, attribute=name)` and `config.generator.latent_dim` are used.
        names: names of the attributes.
        per_class: number of images of each attribute.
        seed: random seed; the latents of attribute i come from `fold_in(key(seed), i)`.
        quiet: whether to leave out the progress bar.

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
    """Returns the rendered data set that a model is compared with: its own, or the nearest in size.

    Args:
        dataset: TFDS name of the data set that the model was trained on.
        resolution: resolution of the model in pixels.

    Returns:
        A name such as `rendered_64`.
    """
    name = dataset_names.parse(dataset)
    return name.config if name and name.source == dataset_names.RENDERED else dataset_names.nearest_rendered(resolution)
