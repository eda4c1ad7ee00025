"""PRNG keys of a step: each sample has its own, derived from its place in the global batch.

A key is folded from the seed, the step, the phase (what it is for) and the sample, so a run draws the same numbers on
any number of devices, and a resumed run the numbers that it would have drawn.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sdgan_jax.training.sharding import AXIS


def reseed(seed: int, rollbacks: int) -> int:
    """Returns the random seed of the steps after so many returns to an earlier checkpoint; `seed` itself for 0."""
    if not rollbacks:
        return seed
    return int(jax.random.bits(jax.random.fold_in(jax.random.key(seed), rollbacks)))


def sample_keys(seed: int, step: jax.Array, rows: int, phases: tuple[int, ...]) -> jax.Array:
    """Returns PRNG keys [phases, rows]. Row j of device d is sample j · devices + d of the global batch."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    sample = jnp.arange(rows) * jax.lax.axis_size(AXIS) + jax.lax.axis_index(AXIS)
    fold = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    return fold(jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(phases)), sample)
