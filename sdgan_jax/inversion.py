"""Inversion: the latent of a given face, found by optimisation, from which an edit of a photo starts.

The loss is the mean squared difference at every scale of an image pyramid, so pose and colour are fitted first and
detail later (a simplified form of the projector of Karras et al. 2020, without a perceptual network).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from sdgan_jax.nets import resample
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained.archive import Tree

STEPS = 300
LEARNING_RATE = 0.05
PULL = 2e-3  # weight of the squared distance to the average latent, near which G is trained best


def pyramid_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the mean squared difference of images f32[N,R,R,3], averaged over the scales R, R/2, ..., 4; f32[N]."""
    distances = []
    while True:
        distances.append(jnp.square(a - b).mean((1, 2, 3)))
        if a.shape[1] <= 4:
            return jnp.stack(distances).mean(0)
        a, b = resample.box_downsample(a), resample.box_downsample(b)


@functools.partial(jax.jit, static_argnums=0)
def invert(nets: Networks, variables_g: Tree, w_avg: jax.Array, basis: jax.Array, images: jax.Array) -> jax.Array:
    """Finds latents that reproduce images.

    Args:
        nets: the networks of the model.
        variables_g: variables of G, buffers included.
        w_avg: f32[D], the start of the search in w+.
        basis: f32[A,D]; the latents found are those of `none`.
        images: f32[N,R,R,3] in [-1,1].

    Returns:
        z f32[N,D] where the config's latent space is "z", else w+ f32[N,L,D].
    """
    config = nets.config
    plain = jnp.zeros((images.shape[0], config.num_attributes))
    if config.latent_space == "z":
        keys = jax.random.split(jax.random.key(0), images.shape[0])
        start = jax.vmap(lambda key: jax.random.normal(key, w_avg.shape))(keys)
        centre = jnp.zeros(())
    else:
        start = jnp.broadcast_to(w_avg, (images.shape[0], config.num_layers, w_avg.shape[0]))
        centre = start

    def loss(latent: jax.Array) -> jax.Array:
        w_plus = nets.to_w_plus(variables_g, latent, plain, basis) if config.latent_space == "z" else latent
        distance = pyramid_distance(nets.synthesize(variables_g, w_plus, "const"), images).sum()
        return distance + PULL * jnp.square(latent - centre).mean(tuple(range(1, latent.ndim))).sum()

    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))

    def improve(carry: tuple[jax.Array, Tree], _: None) -> tuple[tuple[jax.Array, Tree], None]:
        latent, state = carry
        change, state = optimizer.update(jax.grad(loss)(latent), state)
        return (latent + change, state), None

    (latent, _), _ = jax.lax.scan(improve, (start, optimizer.init(start)), None, length=STEPS)
    return latent
