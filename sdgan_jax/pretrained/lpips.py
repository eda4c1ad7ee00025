"""LPIPS, the perceptual distance of two images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from sdgan_jax.nets.lpips import LEAST, Lpips
from sdgan_jax.pretrained import inputs, storage
from sdgan_jax.pretrained.archive import Tree


@dataclasses.dataclass(frozen=True, eq=False)
class LpipsNetwork:
    """LPIPS. Pure: its caller compiles it.

    Attributes:
        net: trunk and heads.
        variables: its `params`.
    """

    net: Lpips
    variables: Tree

    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Computes distances.

        Args:
            a: f32[N,R,R,3] in [-1,1], R at least 16 for VGG16 and 31 for AlexNet.
            b: likewise, of the same shape.

        Returns:
            f32[N], 0 for equal images.

        Raises:
            ValueError: the images have other or different shapes.
        """
        inputs.check_squares(a)
        with jax.default_matmul_precision("highest"):  # GPUs and TPUs round the factors otherwise
            return jnp.asarray(self.net.apply(self.variables, a, b))

    def distance_to(self, images: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns the function from images f32[N,R,R,3] to their distances f32[N] from these."""
        return lambda others: self(others, images)


def lpips_network(path: epath.PathLike) -> LpipsNetwork:
    """Reads LPIPS. It does not come with the project; `experiments.convert` makes it of public files.

    Args:
        path: a network directory.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network; the message names the public files that it is made of.
        ValueError: the network is of another kind or damaged, or its weights do not fit its settings.
    """

    def make(settings: dict[str, Any]) -> Lpips:
        return Lpips(settings["trunk"], tuple(settings["widths"]))

    def shapes(settings: dict[str, Any]) -> Tree:
        storage.check_sizes(settings, widths=1 << 14)
        if settings["trunk"] not in LEAST:
            raise ValueError(f"trunk must be one of {', '.join(LEAST)}")
        size = LEAST[settings["trunk"]]
        images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        return jax.eval_shape(make(settings).init, jax.random.key(0), images, images)

    settings, variables = storage.read(path, "lpips", shapes)
    return LpipsNetwork(make(settings), variables)
