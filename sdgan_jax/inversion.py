"""Inversion: the latent of a given face, from which an edit of a photo starts.

With an encoder E the search starts at E(x) and needs few steps; without E it starts at the average latent, or in z at
one random latent for all faces. A pull keeps the latent near E(x), near the average, or in z near 0, where it can be
edited. The loss is L1 on an image pyramid and a perceptual distance; without one, it is the mean squared difference at
every scale of the pyramid, so pose and colour are fitted first and detail later (a simplified form of the projector of
Karras et al. 2020).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from sdgan_jax import losses
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import DistanceTo
from sdgan_jax.pretrained.archive import Tree

STEPS = 300  # from the average latent
LEARNING_RATE = 0.05
PULL = 2e-3  # weight of the squared distance to the average latent, near which G is trained best
STEPS_E = 50  # from E(x)
LEARNING_RATE_E = 0.02
PULL_E = 0.1  # weight of the squared distance to E(x)


def default_steps(params_e: Tree | None) -> int:
    """Returns the number of steps of `invert`: STEPS_E with an encoder, else STEPS."""
    return STEPS_E if params_e else STEPS


def invert(
    nets: Networks,
    distance_to: DistanceTo | None,
    variables_g: Tree,
    params_e: Tree | None,
    w_avg: jax.Array,
    basis: jax.Array,
    images: jax.Array,
    edit: jax.Array,
    *,
    steps: int,
) -> jax.Array:
    """Finds latents that reproduce images.

    Args:
        nets: the networks of the model.
        distance_to: the perceptual distance, such as of `PerceptualNetwork`; without one pixels are compared alone.
        variables_g: variables of G, buffers included.
        params_e: parameters of E, or None for a model without it.
        w_avg: f32[D], the start of the search in w+ without an encoder.
        basis: f32[A,D]; the latents found are those of `none`.
        images: f32[N,R,R,3] in [-1,1].
        edit: f32[N,A], weights of the edit to come, which tell E what the faces wear (`latents.known_attributes`).
        steps: steps of Adam, from 0 on.

    Returns:
        z f32[N,D] where the config's latent space is "z", else w+ f32[N,L,D].
    """
    config, count, centre = nets.config, images.shape[0], jnp.zeros(())
    if config.latent_space == "z":
        start = jnp.broadcast_to(jax.random.normal(jax.random.key(0), w_avg.shape), (count, *w_avg.shape))
    elif params_e:
        start = centre = nets.encode(params_e, images, w_avg, edit)
    else:
        start = centre = jnp.broadcast_to(w_avg, (count, config.num_layers, w_avg.shape[0]))
    plain = jnp.zeros((count, config.num_attributes))
    distant = distance_to(images) if distance_to else None
    rate, pull = (LEARNING_RATE_E, PULL_E) if params_e else (LEARNING_RATE, PULL)

    def loss(latent: jax.Array) -> jax.Array:
        w_plus = nets.to_w_plus(variables_g, latent, plain, basis) if config.latent_space == "z" else latent
        drawn = nets.synthesize(variables_g, w_plus, "const")
        if distant:
            distance = losses.pyramid(drawn, images) + distant(drawn)
        else:
            distance = losses.pyramid(drawn, images, jnp.square)
        return (distance + pull * jnp.square(latent - centre).mean(tuple(range(1, latent.ndim)))).sum()

    optimizer = optax.adam(optax.cosine_decay_schedule(rate, max(steps, 1)))

    def improve(carry: tuple[jax.Array, Tree], _: None) -> tuple[tuple[jax.Array, Tree], None]:
        latent, state = carry
        change, state = optimizer.update(jax.grad(loss)(latent), state)
        return (latent + change, state), None

    (latent, _), _ = jax.lax.scan(improve, (start, optimizer.init(start)), None, length=steps)
    return latent
