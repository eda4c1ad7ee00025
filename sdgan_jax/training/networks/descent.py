"""Fits the stages of supervised descent that correct a position network: ridge regression, solved exactly.

Pictures are distorted as for the network's own training, the network and the stages before say where their faces are,
and the normal equations of what these miss are summed up.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import auto as tqdm

from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.face3d import descent
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.pretrained import PositionNetwork
from sdgan_jax.training.networks import distortion

_AT_ONCE = 64
_LOOKED_AT = 2048  # faces that give a stage's means, deviations and basis

Missed = tuple[jax.Array, jax.Array]  # features f32[n,D], and what a map lacks to the truth f32[n,S,S,3], in sides
Sums = tuple[jax.Array, jax.Array]  # of features by features f32[D+1,D+1] and by coefficients f32[D+1,K]


def check(config: PRNetConfig, faces: int) -> None:
    """Raises `ValueError` where there are fewer faces than a stage has components, before hours go into a network."""
    count = min(config.stage_faces, faces)
    if config.stages and count < config.components:
        raise ValueError(
            f"config.components is {config.components}, but a stage has only {count} faces; lower it, or set "
            "config.stages=0"
        )


def fit(config: PRNetConfig, network: PositionNetwork, images: np.ndarray, maps: np.ndarray) -> PositionNetwork:
    """Gives a network `config.stages` stages. On one device, in memory.

    Each draws its faces and their distortions anew: on pictures that an earlier stage was fitted to, less is missed
    than on others.

    Args:
        config: how pictures are distorted, how many stages of how many faces, their components and ridge; one that
            passes `check`.
        network: of MEGN's layout, without stages.
        images: u8[N,R,R,3], with R the network's size.
        maps: f32[N,R,R,3], the true position maps.

    Returns:
        The network with the stages.
    """
    count = min(config.stage_faces, len(images))
    with tqdm.tqdm(total=config.stages * count, desc="Supervised descent", unit="face", mininterval=0.5) as bar:
        for number in range(config.stages):
            rows = np.random.default_rng((config.seed, number)).choice(len(images), count, replace=False)
            look = jax.jit(functools.partial(_look, config, network))
            key = jax.random.fold_in(jax.random.key(config.seed), number)
            examples = _examples(look, key, images, maps, rows, bar)
            network = network.with_stage(solve(config, network.uv_layout, examples))
    return network


def _examples(
    look: Callable[..., Missed], key: jax.Array, images: np.ndarray, maps: np.ndarray, rows: np.ndarray, bar: tqdm.tqdm
) -> Iterator[Missed]:
    """What is missed on these faces, batch by batch, all of one size; the few that are left over are left out."""
    size = min(_AT_ONCE, len(rows))
    for number in range(len(rows) // size):
        some = np.sort(rows[number * size : (number + 1) * size])
        yield look(jax.random.fold_in(key, number), images[some], maps[some])
        bar.update(size)


def _look(config: PRNetConfig, network: PositionNetwork, key: jax.Array, images: jax.Array, maps: jax.Array) -> Missed:
    """Distorts faces, looks for them, and says what is seen there and what is missed."""
    images = images.astype(jnp.float32) / 255.0
    images, maps = jax.vmap(functools.partial(distortion.distort, config=config))(
        jax.random.split(key, len(images)), images, maps, jnp.roll(images, 1, 0)
    )
    found = network(2.0 * images - 1.0)
    features = jax.vmap(functools.partial(descent.describe, layout=network.uv_layout))(images, found)
    return features, (maps - found) / images.shape[1]


def solve(config: PRNetConfig, layout: Layout, examples: Iterator[Missed]) -> descent.Stage:
    """The stage that corrects what was missed with the least squares, ridge included.

    Args:
        config: of the components, no more than the first batches have faces, and of the ridge.
        layout: its weights say how much a texel counts.
        examples: batches; the first of them, about 2,000 faces, give means, deviations and basis.
    """
    first = list(itertools.islice(examples, _LOOKED_AT // _AT_ONCE))
    features, missed = (jnp.concatenate(parts) for parts in zip(*first, strict=True))
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    root = jnp.sqrt(jnp.asarray(layout.weights))[..., None]  # of what a texel counts
    directions = principal(root * missed, config.components)  # [K,S,S,3]

    @functools.partial(jax.jit, donate_argnums=0)
    def add(sums: Sums, features: jax.Array, missed: jax.Array) -> Sums:
        seen = jax.vmap(descent.standardise, (0, None, None))(features, mean, deviation)
        wanted = jnp.einsum("nijc,kijc->nk", root * missed, directions, precision="highest")
        return tuple(
            total + jnp.einsum("nd,ne->de", seen, part, precision="highest")
            for total, part in zip(sums, (seen, wanted), strict=True)
        )

    length, count = features.shape[1] + 1, 0
    sums = (jnp.zeros((length, length)), jnp.zeros((length, config.components)))
    for features, missed in itertools.chain(first, examples):
        sums = add(sums, features, missed)
        count += len(features)
    ridge = config.ridge * count * jnp.ones(length).at[-1].set(0.0)  # the constant is free
    weights = jax.scipy.linalg.solve(sums[0] + jnp.diag(ridge), sums[1], assume_a="pos")
    return descent.Stage(mean, deviation, weights, directions / jnp.where(root > 0, root, 1.0))


def principal(rows: jax.Array, count: int) -> jax.Array:
    """The orthonormal directions f32[count,...] along which rows f32[N,...] have the greatest squares; count <= N."""
    flat = rows.reshape(len(rows), -1)
    squares, vectors = jnp.linalg.eigh(jnp.matmul(flat, flat.T, precision="highest"))
    top = jnp.matmul(vectors[:, -count:].T, flat, precision="highest") / jnp.sqrt(squares[-count:, None])
    return top.reshape(count, *rows.shape[1:])
