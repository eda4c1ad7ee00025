"""Fits the stages of supervised descent that correct a position network: ridge regression, solved exactly.

Images are augmented as for the network's own training. The network and the earlier stages predict their position maps;
the normal equations of the remaining errors are summed over all batches.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import auto as tqdm

from sdgan_jax import pictures
from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.face3d import descent
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.pretrained import PositionNetwork
from sdgan_jax.training.networks import distortion

_BATCH = 64
_STATISTICS = 2048  # faces that give a stage's means, deviations and basis

Examples = tuple[jax.Array, jax.Array]  # features f32[n,D], and true minus predicted maps f32[n,S,S,3] in sides
Sums = tuple[jax.Array, jax.Array]  # features by features f32[D+1,D+1], and features by coefficients f32[D+1,K]


def check(config: PRNetConfig, faces: int) -> None:
    """Raises `ValueError` where a basis has fewer faces than a stage has components, before hours of training."""
    count = min(config.stage_faces, faces)
    size = min(_BATCH, count)
    basis = min(count // size, _STATISTICS // _BATCH) * size if count else 0
    if config.stages and basis < config.components:
        raise ValueError(
            f"config.components is {config.components}, but only {basis} faces give a stage its basis; lower it, or "
            "set config.stages=0"
        )


def fit(config: PRNetConfig, network: PositionNetwork, images: np.ndarray, maps: np.ndarray) -> PositionNetwork:
    """Fits `config.stages` stages, on one device, in memory.

    Each stage draws its faces and their augmentation anew: errors on images that an earlier stage was fitted to are
    smaller than on others.

    Args:
        config: augmentation, stages, faces of a stage, components and ridge; must pass `check`.
        network: a network of MEGN's layout, without stages.
        images: u8[N,R,R,3], with R the network's size.
        maps: f32[N,R,R,3], the true position maps.

    Returns:
        The network with the stages.
    """
    count = min(config.stage_faces, len(images))
    with tqdm.tqdm(total=config.stages * count, desc="Supervised descent", unit="face", mininterval=0.5) as bar:
        for number in range(config.stages):
            rows = np.random.default_rng((config.seed, number)).choice(len(images), count, replace=False)
            compute = jax.jit(functools.partial(_example, config, network))
            key = jax.random.fold_in(jax.random.key(config.seed), number)
            examples = _examples(compute, key, images, maps, rows, bar)
            network = network.with_stage(solve(config, network.uv_layout, examples))
    return network


def _examples(
    compute: Callable[..., Examples],
    key: jax.Array,
    images: np.ndarray,
    maps: np.ndarray,
    rows: np.ndarray,
    bar: tqdm.tqdm,
) -> Iterator[Examples]:
    """Yields examples in batches of one size; an incomplete last batch is left out."""
    size = min(_BATCH, len(rows))
    for number in range(len(rows) // size):
        some = np.sort(rows[number * size : (number + 1) * size])
        yield compute(jax.random.fold_in(key, number), images[some], maps[some])
        bar.update(size)


def _example(
    config: PRNetConfig, network: PositionNetwork, key: jax.Array, images: jax.Array, maps: jax.Array
) -> Examples:
    """Distorts faces, predicts their maps, and computes the features and errors there."""
    images = pictures.to_float(images)
    images, maps = jax.vmap(functools.partial(distortion.distort, config=config))(
        jax.random.split(key, len(images)), images, maps, jnp.roll(images, 1, 0)
    )
    found = network(images)
    features = jax.vmap(functools.partial(descent.describe, layout=network.uv_layout))(images, found)
    return features, (maps - found) / images.shape[1]


def solve(config: PRNetConfig, layout: Layout, examples: Iterator[Examples]) -> descent.Stage:
    """Fits a stage by ridge regression.

    Args:
        config: number of components, at most the number of faces in the first batches, and ridge.
        layout: its weights are those of the texels.
        examples: batches; the first of them, about 2,000 faces, give means, deviations and basis.

    Returns:
        The stage.
    """
    first = list(itertools.islice(examples, _STATISTICS // _BATCH))
    features, errors = (jnp.concatenate(parts) for parts in zip(*first, strict=True))
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    root = jnp.sqrt(jnp.asarray(layout.weights))[..., None]  # of the texels' weights
    directions = principal(root * errors, config.components)  # [K,S,S,3]

    @functools.partial(jax.jit, donate_argnums=0)
    def add(sums: Sums, features: jax.Array, errors: jax.Array) -> Sums:
        seen = jax.vmap(descent.standardise, (0, None, None))(features, mean, deviation)
        wanted = jnp.einsum("nijc,kijc->nk", root * errors, directions, precision="highest")
        squares, products = (jnp.einsum("nd,ne->de", seen, part, precision="highest") for part in (seen, wanted))
        return sums[0] + squares, sums[1] + products

    length, count = features.shape[1] + 1, 0
    sums = (jnp.zeros((length, length)), jnp.zeros((length, config.components)))
    for features, errors in itertools.chain(first, examples):
        sums = add(sums, features, errors)
        count += len(features)
    ridge = config.ridge * count * jnp.ones(length).at[-1].set(0.0)  # the constant is free
    weights = jax.scipy.linalg.solve(sums[0] + jnp.diag(ridge), sums[1], assume_a="pos")
    return descent.Stage(mean, deviation, weights, directions / jnp.where(root > 0, root, 1.0))


def principal(rows: jax.Array, count: int) -> jax.Array:
    """Returns the principal directions f32[count,...] of rows f32[N,...] about 0; orthonormal, count <= N."""
    flat = rows.reshape(len(rows), -1)
    squares, vectors = jnp.linalg.eigh(jnp.matmul(flat, flat.T, precision="highest"))
    top = jnp.matmul(vectors[:, -count:].T, flat, precision="highest") / jnp.sqrt(squares[-count:, None])
    return top.reshape(count, *rows.shape[1:])
