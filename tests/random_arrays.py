"""Random inputs and weights."""

import jax
import numpy as np


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(net, *inputs, **named):
    """Variables of a network, standard normal everywhere: no scale at 1 and no bias at 0 can hide a mistake."""
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), *inputs, **named))
    leaves, tree = jax.tree.flatten(shapes)
    return jax.tree.unflatten(tree, [noise(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])


def distance(a, b):
    """Largest difference as a share of the largest value."""
    return np.abs(np.asarray(a) - b).max() / np.abs(b).max()
