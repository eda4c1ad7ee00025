"""Fusion networks of the official SD-GAN release."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from sdgan_jax.nets.sfn import OfficialFusion, Settings
from sdgan_jax.pretrained import inputs, storage
from sdgan_jax.pretrained.archive import Tree


@dataclasses.dataclass(frozen=True, eq=False)
class OfficialFusionNetwork:
    """The fusion network of SD-GAN's release, as a pure function.

    Attributes:
        net: the architecture.
        variables: `params`.
    """

    net: OfficialFusion
    variables: Tree

    def __call__(self, faces: jax.Array, templates: jax.Array, maps: jax.Array) -> jax.Array:
        """Regresses offsets.

        Args:
            faces: f32[N,R,R,3] in [-1,1], of any size R.
            templates: f32[N,R,R,3] in [-1,1], images of the attribute, of any size R.
            maps: f32[N,S,S,9], maps of the canonical 3D faces; S is a multiple of 4.

        Returns:
            f32[N,L,D], where L is the number of layers of G; [N,14,512] in the release.

        Raises:
            ValueError: an argument has another shape.
        """
        inputs.check_squares(faces, "faces")
        inputs.check_squares(templates, "templates")
        if maps.ndim != 4 or maps.shape[1] != maps.shape[2] or maps.shape[1] % 4 or maps.shape[3] != 9:
            raise ValueError(f"maps must be [N,S,S,9], S a multiple of 4; got {list(maps.shape)}")
        size = self.net.settings.resolution
        return jnp.asarray(
            self.net.apply(self.variables, inputs.resize(faces, size), inputs.resize(templates, size), maps)
        )


def fusion_network(path: epath.PathLike) -> OfficialFusionNetwork:
    """Reads a fusion network of SD-GAN's release.

    Args:
        path: a network directory.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network.
        ValueError: the network is of another kind or damaged, or its weights do not fit its settings.
    """

    def make(settings: dict[str, Any]) -> OfficialFusion:
        widths, style_widths = (tuple(settings[name]) for name in ("widths", "style_widths"))
        return OfficialFusion(Settings(widths, style_widths, settings["resolution"], settings["num_layers"]))

    def shapes(settings: dict[str, Any]) -> Tree:
        storage.check_sizes(settings, widths=1 << 14, style_widths=1 << 14, resolution=4096, num_layers=1024)
        net = make(settings)
        images = jax.ShapeDtypeStruct((1, net.settings.resolution, net.settings.resolution, 3), jnp.float32)
        return jax.eval_shape(net.init, jax.random.key(0), images, images, jnp.zeros((1, 16, 16, 9)))

    settings, variables = storage.read(path, "sfn", shapes)
    return OfficialFusionNetwork(make(settings), variables)
