"""Gradient accumulation: a device's rows worked through part by part, for the gradient of all of them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sdgan_jax.config import Config
from sdgan_jax.networks import Tree


def check(config: Config, devices: int) -> None:
    """Checks that the parts of a batch are those that the whole batch would fall into.

    Raises:
        ValueError: a group of the minibatch standard deviation would be cut.
    """
    rows = config.batch_size // devices
    if config.accumulate > 1 and rows % (config.accumulate * config.discriminator.mbstd_group):
        raise ValueError(
            f"config.accumulate is {config.accumulate}, but the {rows} images of a device do not split into so many "
            f"parts of whole groups of {config.discriminator.mbstd_group} (config.discriminator.mbstd_group)"
        )


def mean_over_parts(compute: Callable[[Tree], Tree], rows: Tree, count: int, group: int) -> Tree:
    """The mean of `compute(part)` over `count` parts of a device's rows.

    Args:
        compute: a part of `rows` to a tree of arrays, each a mean over the samples of the part.
        rows: tree of arrays [n,...], n a multiple of count · group.
        count: parts, worked through one after the other.
        group: samples of a group that must stay together, strided as those of `layers.minibatch_stddev`.

    Returns:
        What `compute(rows)` would be.
    """
    if count == 1:
        return compute(rows)

    def split(x: jax.Array) -> jax.Array:  # [n,...] -> [count,n/count,...]
        x = x.reshape(group, count, -1, *x.shape[1:]).swapaxes(0, 1)
        return x.reshape(count, -1, *x.shape[3:])

    def add(total: Tree, part: Tree) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, total, compute(part)), None

    split_rows = jax.tree.map(split, rows)
    shapes = jax.eval_shape(compute, jax.tree.map(lambda x: x[0], split_rows))
    total, _ = jax.lax.scan(add, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), split_rows)
    return jax.tree.map(lambda x: x / count, total)
