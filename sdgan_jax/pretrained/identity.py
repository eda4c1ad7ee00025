"""Identity networks, which map faces to embeddings."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from sdgan_jax.nets.arcface import ArcFace
from sdgan_jax.pretrained import inputs, storage
from sdgan_jax.pretrained.archive import Tree


@dataclasses.dataclass(frozen=True, eq=False)
class IdentityNetwork:
    """A network that maps faces to identity embeddings, as a pure function.

    Attributes:
        net: the architecture.
        variables: `params` and `batch_stats`.
        resolution: side of the network's input in pixels.
        crop: part of an image that is used: top, left, bottom and right in sides of the image; None for all of it.
    """

    net: ArcFace
    variables: Tree
    resolution: int
    crop: tuple[float, float, float, float] | None = None

    def __call__(self, images: jax.Array) -> jax.Array:
        """Embeds faces.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R; aligned faces if there is a crop.

        Returns:
            f32[N,E], unit vectors.

        Raises:
            ValueError: the images are not [N,R,R,3].
        """
        inputs.check_squares(images)
        if self.crop is not None:
            top, left, bottom, right = (round(share * images.shape[1]) for share in self.crop)
            images = inputs.shrink(images[:, top:bottom, left:right], self.resolution)
        return jnp.asarray(self.net.apply(self.variables, inputs.resize(images, self.resolution)))


def identity_network(path: epath.PathLike = "") -> IdentityNetwork:
    """Reads an identity network.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network.
        ValueError: the network is of another kind or damaged, or its weights do not fit its settings.
    """

    def make(settings: dict[str, Any]) -> ArcFace:
        return ArcFace(tuple(settings["blocks"]), tuple(settings["widths"]), settings["embedding_dim"])

    def shapes(settings: dict[str, Any]) -> Tree:
        storage.check_sizes(settings, blocks=200, widths=1 << 14, embedding_dim=1 << 14, resolution=4096)
        size, crop = settings["resolution"], settings["crop"]
        if crop is not None and not (
            len(crop) == 4 and all(0 <= first < last <= 1 for first, last in zip(crop[:2], crop[2:], strict=True))
        ):
            raise ValueError("crop must be null, or top, left, bottom and right as shares of the side")
        images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        return jax.eval_shape(make(settings).init, jax.random.key(0), images)

    settings, variables = storage.read(path or storage.SHIPPED / "identity64", "identity", shapes)
    crop = settings["crop"]
    return IdentityNetwork(make(settings), variables, settings["resolution"], None if crop is None else tuple(crop))
