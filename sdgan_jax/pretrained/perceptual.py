"""Perceptual features: outputs of inner layers of the frozen position and identity networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from sdgan_jax import losses
from sdgan_jax.nets.prnet import to_input
from sdgan_jax.pretrained import directories, inputs
from sdgan_jax.pretrained.face_mesh import KIND
from sdgan_jax.pretrained.identity import IdentityNetwork, identity_network
from sdgan_jax.pretrained.position import PositionNetwork, prnet_network

DistanceTo = Callable[
    [jax.Array], Callable[[jax.Array], jax.Array]
]  # from images to their distances f32[N] from others


@dataclasses.dataclass(frozen=True, eq=False)
class PerceptualNetwork:
    """Features for `losses.perceptual`, as a pure function.

    The position network knows shapes, the identity network knows colours and details of people. Together they are
    sensitive to what makes a face, and both were trained on faces with attributes.

    Attributes:
        position: the position network.
        identity: the identity network.
    """

    position: PositionNetwork
    identity: IdentityNetwork

    def __call__(self, images: jax.Array) -> tuple[jax.Array, ...]:
        """Computes features.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R.

        Returns:
            f32[N,h,w,C] for each layer: a half, a quarter, … of the networks' input sides, down to 8 by the position
            network, and by the identity network as far as it has stages: 4 by that of the project.

        Raises:
            ValueError: the images are not [N,R,R,3].
        """
        inputs.check_squares(images)
        position, identity = self.position, self.identity
        variables = {name: position.variables[name] for name in ("params", "batch_stats")}
        of_shape = _block_outputs(position.net, variables, to_input(inputs.resize(images, position.net.size)))
        of_person = _block_outputs(identity.net, identity.variables, inputs.resize(images, identity.resolution))
        return (*of_shape[1::2], *of_person)  # the position network has two blocks of each size

    def distance_to(self, images: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns the function from images f32[N,R,R,3] to their distances f32[N] from these, `losses.perceptual`."""
        wanted = self(images)
        return lambda others: losses.perceptual(self(others), wanted)


def perceptual_network(position: epath.PathLike = "", identity: epath.PathLike = "") -> PerceptualNetwork:
    """Reads the networks whose features are compared.

    Args:
        position: a network directory; "" for the position network that comes with the project, which also stands in
            for a face mesh: that was not trained on faces with attributes.
        identity: likewise of the identity network.

    Returns:
        The network.

    Raises:
        FileNotFoundError, ValueError: as `prnet_network` and `identity_network`.
    """
    if position and directories.is_network(position, KIND):
        position = ""
    return PerceptualNetwork(prnet_network(position), identity_network(identity))


def _block_outputs(net: Any, variables: Any, images: jax.Array) -> list[jax.Array]:
    """Returns the outputs of the submodules `block_0`, `block_1`, … of a network."""
    _, state = net.apply(
        variables,
        images,
        capture_intermediates=lambda module, _: module.name is not None and module.name.startswith("block_"),
        mutable=["intermediates"],
    )
    found = state["intermediates"]
    return [found[f"block_{index}"]["__call__"][0] for index in range(len(found))]
