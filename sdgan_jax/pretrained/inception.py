"""The Inception v3 of 2015, whose features FID and other metrics compare."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from sdgan_jax.nets.inception import SIZE, Inception
from sdgan_jax.pretrained import storage
from sdgan_jax.pretrained.archive import Tree


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionNetwork:
    """Inception v3 of 2015. Pure: its caller compiles it.

    Attributes:
        net: the network.
        variables: its `params`.
    """

    net: Inception
    variables: Tree

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Computes features and class scores.

        Args:
            images: f32[N,299,299,3] in [-1,1]; not resized here, because each metric has its own way.

        Returns:
            features f32[N,2048]; logits f32[N,1008] without the bias of the dense layer, as the Inception Score of
            Salimans et al. 2016, NVlabs and torch-fidelity use them.

        Raises:
            ValueError: the images are not [N,299,299,3].
        """
        with jax.default_matmul_precision("highest"):  # GPUs and TPUs round the factors otherwise, which moves FID
            features, logits = self.net.apply(self.variables, images)
        return jnp.asarray(features), jnp.asarray(logits)


def inception_network(path: epath.PathLike) -> InceptionNetwork:
    """Reads an Inception network. It does not come with the project; `experiments.convert` makes it of a public file.

    Args:
        path: a network directory.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network; the message names the public file that it is made of.
        ValueError: the network is of another kind or damaged.
    """
    net = Inception()

    def shapes(settings: dict[str, Any]) -> Tree:
        images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
        return jax.eval_shape(net.init, jax.random.key(0), images)

    return InceptionNetwork(net, storage.read(path, "inception", shapes)[1])
