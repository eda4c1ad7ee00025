"""PRNet's training: the loss in closed form, a step that is the same on any number of devices, and that it learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax.nets.prnet import ResFCN
from sdgan_jax.network_config import PRNetConfig
from sdgan_jax.training import prnet, sharding
from tests.training import tiny

CONFIG = PRNetConfig(resolution=64, channels=2, batch_size=8, total_steps=60, learning_rate=0.02)
NET = ResFCN(64, 2)


def batch(count, still=False):
    """Faces and their maps."""
    params = [tfds_megn.sample_params(identity) for identity in range(count)]
    return {
        "image": np.stack([tfds_megn.render(p, "none", 64) for p in params]),
        "position_map": np.stack([tfds_megn.position_map(p, 64) for p in params]),
    }


def test_the_loss_is_the_weighted_mean_square():
    output, target = np.full((2, 2, 2, 3), 0.5, np.float32), np.full((2, 2, 2, 3), 0.5, np.float32)
    target[0, 0, 0] += [0.1, 0.2, 0.0]
    target[1, 1, 1] += [0.0, 0.0, 0.3]
    target[1, 0, 0] = [1.2, 0.5, 0.5]  # out of reach
    weights = np.array([[16.0, 3.0], [0.0, 1.0]], np.float32)
    expected = 1000 * (16 * (0.01 + 0.04) + 1 * 0.09) / (20 * 2)
    assert float(prnet.position_map_loss(output, target, weights)) == pytest.approx(expected, rel=1e-5)


def test_outputs_and_pixels_are_inverse_and_depth_is_about_the_middle():
    maps = np.array([[[[0.0, 35.2, 0.0], [70.4, 7.04, -35.2]]]], np.float32)
    np.testing.assert_allclose(prnet.to_output(maps, 64), [[[[0, 0.5, 0.5], [1, 0.1, 0]]]], atol=1e-6)

    class Net:
        size = 64

        def apply(self, variables, images):
            del variables, images
            return prnet.to_output(maps, 64)

    np.testing.assert_allclose(prnet.predict_pixels(Net(), {}, jnp.zeros((1,), jnp.uint8)), maps, atol=1e-4)


def test_it_learns_where_faces_are():
    config = dataclasses.replace(CONFIG, rotation=0.0, scale=0.0, shift=0.0, colour=0.0, occlusion=0.0)
    mesh = sharding.make_mesh(8, jax.devices()[:1])
    with tiny.quick_compilation():
        state = jax.jit(functools.partial(prnet.init, config, NET), out_shardings=sharding.replicated(mesh))()
        step = sharding.map_step(functools.partial(prnet.step, config, NET), mesh)
        rows, errors = sharding.put_rows(batch(8), mesh), []
        for _ in range(40):
            state, metrics = step(state, rows)
            errors.append(float(metrics["pixels"][0]))
    assert int(state.step) == 40
    assert errors[-1] < 0.35 * errors[0]
