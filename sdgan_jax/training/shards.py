"""Arrays of the state in pieces, so that several devices share one copy of parameters and optimisers.

The mesh has the axes `data` and `fsdp`. The devices along `fsdp` share a copy of the state: each stores a piece of
every large array (ZeRO, Rajbhandari et al. 2020; "fully sharded data parallel"). The batch is split over both axes, so
the number of devices that share a copy changes neither the samples of a device nor the mathematics.

Inside the map over devices an array in pieces is a `Shard`, a node of the tree of the state. Updates by Adam and moving
averages, which work number by number, take trees of such nodes as they are. Losses take whole arrays, from `gather`;
`mean` turns their gradients into pieces again. Without arrays in pieces `gather` does nothing, and `mean` is
`jax.lax.pmean`.
"""

from __future__ import annotations

import math
from typing import Any

import flax.struct
import jax
from jax.sharding import PartitionSpec as P

from sdgan_jax.pretrained.archive import Tree

DATA, FSDP = "data", "fsdp"  # the axes of the mesh
AXIS = (DATA, FSDP)  # both: all devices, over which batches are split
LEAST = 2048  # numbers; every device has the whole of smaller arrays, since each array is exchanged by itself


@flax.struct.dataclass
class Shard:
    """This device's piece of an array.

    Attributes:
        piece: the numbers of this device; the other devices along `fsdp` have the others.
        axis: the axis of the array that is cut.
    """

    piece: jax.Array
    axis: int = flax.struct.field(pytree_node=False)


def spec(shape: tuple[int, ...], count: int) -> P:
    """Returns how an array of this shape is stored on a mesh with `count` devices along `fsdp`.

    An array of `LEAST` numbers or more is cut along its first axis that `count` divides: the pieces are then long rows,
    and as good as whole where a device stores tiles of the last two axes. Every device has all of any other array.
    """
    if count > 1 and math.prod(shape) >= LEAST:
        for axis, size in enumerate(shape):
            if size % count == 0:
                return P(*[None] * axis, FSDP)
    return P()


def specs(state: Tree, count: int) -> Tree:
    """Returns how each array, or `jax.ShapeDtypeStruct`, of a state is stored: by `spec` the arrays of its trees.

    Of an array that is a field of the state itself, such as a counter or the basis, every device has all.
    """
    return jax.tree_util.tree_map_with_path(lambda path, leaf: spec(leaf.shape, count) if path[1:] else P(), state)


def mark(tree: Tree, placed: Tree) -> Tree:
    """Makes `Shard`s of the pieces of a device, inside the map over devices; `placed` has the `specs` of the tree."""
    return jax.tree.map(lambda leaf, where: Shard(leaf, len(where) - 1) if len(where) else leaf, tree, placed)


def unmark(tree: Tree) -> Tree:
    """Undoes `mark`."""
    return jax.tree.map(lambda leaf: leaf.piece if _is_shard(leaf) else leaf, tree, is_leaf=_is_shard)


def gather(tree: Tree) -> Tree:
    """Returns a tree with whole arrays in place of this device's pieces, inside the map over devices."""

    def whole(leaf: Any) -> Any:
        return jax.lax.all_gather(leaf.piece, FSDP, axis=leaf.axis, tiled=True) if _is_shard(leaf) else leaf

    return jax.tree.map(whole, tree, is_leaf=_is_shard)


def mean(computed: tuple[Tree, ...], params: Tree) -> tuple[Tree, ...]:
    """Averages gradients and other values over all devices, inside the map over devices.

    A gradient of an array in pieces is summed over the devices that share a copy, of which each receives its own piece,
    and then over the copies. All other values are averaged in one exchange.

    Args:
        computed: the gradients of this device by whole arrays, and trees of other values.
        params: the parameters of these gradients, partly in pieces.

    Returns:
        `computed` with averages, the gradients in pieces where `params` are.
    """
    gradients, *others = computed

    def sum_to_piece(param: Any, gradient: jax.Array) -> Any:
        if not _is_shard(param):
            return gradient
        piece = jax.lax.psum_scatter(gradient, FSDP, scatter_dimension=param.axis, tiled=True)
        return Shard(piece, param.axis)

    mixed = (jax.tree.map(sum_to_piece, params, gradients, is_leaf=_is_shard), *others)
    leaves, structure = jax.tree.flatten(mixed, is_leaf=_is_shard)
    cut = [leaf.piece for leaf in leaves if _is_shard(leaf)]
    if cut:
        cut = jax.lax.psum(cut, DATA) if jax.lax.axis_size(DATA) > 1 else cut
        cut = [piece / jax.lax.axis_size(AXIS) for piece in cut]
    whole = jax.lax.pmean([leaf for leaf in leaves if not _is_shard(leaf)], AXIS)
    pieces, wholes = iter(cut), iter(whole)
    merged = [Shard(next(pieces), leaf.axis) if _is_shard(leaf) else next(wholes) for leaf in leaves]
    return jax.tree.unflatten(structure, merged)


def _is_shard(leaf: Any) -> bool:
    return isinstance(leaf, Shard)
