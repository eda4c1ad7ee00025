"""Joint steps of a tiny configuration on some of the devices."""

import jax
import numpy as np

from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding
from sdgan_jax.training.gan import inputs, joint_step
from tests.training import tiny

GROUP = 4  # samples of a minibatch standard deviation
STEPS = 3  # the regularisers are due at the first and the third, F at the first alone

# Adam divides a gradient by its own size: without a large epsilon, rounding of tiny gradients would decide.
ADAM = c.AdamConfig(learning_rate=0.01, beta1=0.5, beta2=0.99, epsilon=0.01)
LITERAL = tiny.config()  # the pseudo-code
LATENT = tiny.config(
    latent_space="w",
    source="latent",
    basis_length=3.0,
    losses=c.LossConfig(
        r1=1.0, r1_every=2, edit_attribute=0.5, edit_adversarial=0.5, path_length=0.3, path_length_every=2
    ),
    style_mixing=0.5,
    adam_g=ADAM,
    adam_d=ADAM,
    adam_f=ADAM,
    fusion_every=3,
    ema_kimg=0.1,
    ema_rampup=0.5,
    w_avg_beta=0.9,
)


def place(config, devices, fsdp=1):
    mesh, state = sharding.make_mesh(config.batch_size, jax.devices()[:devices], fsdp), tiny.random_state(config)
    return mesh, jax.device_put(state, sharding.placed(state, mesh))


def put(batch, mesh):
    return inputs.put_batch(batch, mesh, group=GROUP)


def laid_out(batch):
    """The order of rows of the global batch: sorted by attribute, then group by group with a stride of N / group."""
    order = np.argsort(batch["attributes"].argmax(1), kind="stable")
    order = [order[GROUP * group + member] for member in range(GROUP) for group in range(tiny.BATCH // GROUP)]
    return {name: rows[order] for name, rows in batch.items()}


def run(config, devices, fsdp=1):
    """Takes `STEPS` steps; returns the compiled step, and after every step the state and the metrics on the host."""
    mesh, state = place(config, devices, fsdp)
    step = sharding.map_step(joint_step.make_step(make_networks(config)), mesh)
    history = [(jax.device_get(state), None)]
    for index in range(STEPS):
        state, metrics = step(state, put(tiny.random_batch(index), mesh))
        history.append(jax.device_get((state, metrics)))
    return step, history


def assert_close(actual, expected):
    for (name, a), (_, b) in zip(tiny.named_leaves(actual), tiny.named_leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5 * max(1.0, np.abs(b).max()), err_msg=name)
