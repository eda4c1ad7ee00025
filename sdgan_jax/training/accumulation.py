"""Gradient accumulation: the mean gradient of a device's rows, computed part by part to save memory."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sdgan_jax.pretrained.archive import Tree


def mean_over_parts(compute: Callable[[Tree], Tree], rows: Tree, count: int, group: int) -> Tree:
    """Returns the mean of `compute(part)` over `count` parts of a device's rows, which equals `compute(rows)`.

    Args:
        compute: maps a part of `rows` to a tree of arrays, each a mean over the samples of the part.
        rows: tree of arrays [n,...], n a multiple of count · group.
        count: number of parts; they are computed one after the other.
        group: number of samples of a group that stays in one part, strided as in `layers.minibatch_stddev`.
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
