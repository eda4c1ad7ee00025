"""Pivotal tuning (Roich et al. 2021): G itself is changed a little, until it draws given faces from their latents.

No latent reproduces a face exactly. The latents found by `inversion` are kept as pivots, near which edits still work,
and the synthesis network of G is optimised to draw the faces.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from sdgan_jax import losses
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import DistanceTo
from sdgan_jax.pretrained.archive import Tree

# Roich et al. take 3e-4 for G of 512 channels; narrower ones need more. On a test face, 20 steps took the perceptual
# distance of G of at most 128 channels from 0.17 to 0.09 with 3e-4, and to 0.06 with 1e-3.
LEARNING_RATE = 1e-3


def tune(
    nets: Networks,
    distance_to: DistanceTo,
    variables_g: Tree,
    basis: jax.Array,
    latent: jax.Array,
    images: jax.Array,
    *,
    steps: int,
) -> Tree:
    """Tunes the synthesis network of G, by Adam on L1 of an image pyramid and the perceptual distance.

    Args:
        nets: the networks of the model.
        distance_to: the perceptual distance, such as of `PerceptualNetwork`.
        variables_g: variables of G, buffers included.
        basis: f32[A,D]; the latents are those of `none`.
        latent: the pivots, z f32[N,D] where the config's latent space is "z", else w+ f32[N,L,D].
        images: f32[N,R,R,3] in [-1,1], the faces that G shall draw from them.
        steps: steps of Adam, from 0 on.

    Returns:
        Variables of G; those of the mapping network are the given ones.
    """
    w_plus, distant = latent, distance_to(images)
    if nets.config.latent_space == "z":
        w_plus = nets.to_w_plus(variables_g, latent, jnp.zeros((len(latent), nets.config.num_attributes)), basis)

    def variables(synthesis: Tree) -> Tree:
        return variables_g | {"params": variables_g["params"] | {"synthesis": synthesis}}

    def loss(synthesis: Tree) -> jax.Array:
        drawn = nets.synthesize(variables(synthesis), w_plus, "const")
        return (losses.pyramid(drawn, images) + distant(drawn)).mean()

    optimizer = optax.adam(LEARNING_RATE)

    def improve(carry: tuple[Tree, Tree], _: None) -> tuple[tuple[Tree, Tree], None]:
        synthesis, state = carry
        change, state = optimizer.update(jax.grad(loss)(synthesis), state)
        return (optax.apply_updates(synthesis, change), state), None

    start = variables_g["params"]["synthesis"]
    (synthesis, _), _ = jax.lax.scan(improve, (start, optimizer.init(start)), None, length=steps)
    return variables(synthesis)
