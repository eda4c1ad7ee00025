"""Lazy regularisers: their losses against closed forms, with the interval that they stand for."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax.training.gan import inputs, regularisers
from tests.training import tiny


def test_lazy_r1_stands_for_the_steps_without_it():
    # D(x) = p |x|² / 2 + q · f with features f = 5 x: the gradients are p x and q, and none goes through f, so the
    # loss is gamma / 2 · k · (p² |x|² + |q|²).
    quadratic = types.SimpleNamespace(
        config=tiny.config(losses=c.LossConfig(r1=3.0, r1_every=5)),
        augment_for_d=lambda scales, *_: scales,
        features=lambda scales: [5 * scales[-1]],
        discriminate=lambda p, scales, _, features: (
            p[0] * jnp.square(scales[-1]).sum((1, 2, 3)) / 2 + p[1] * features[0].sum((1, 2, 3)),
            None,
        ),
    )
    x = np.random.default_rng(0).standard_normal((4, 2, 2, 3)).astype(np.float32)
    power = np.square(x).sum((1, 2, 3)).mean()
    loss, penalty = regularisers.loss_r1(quadratic, (0.7, 0.2), 0.0, x, None, None)
    expected = 0.49 * power + 12 * 0.04  # 12 numbers in an image of 2×2
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)
    np.testing.assert_allclose(loss, 3.0 / 2 * 5 * expected, rtol=1e-5)


def test_lazy_path_length_stands_for_the_steps_without_it():
    # An image p · w[0] + p · w[1], the same at every pixel: J^T y is p · sum(y) / sqrt(H W) for either layer.
    linear = types.SimpleNamespace(
        config=tiny.config(losses=c.LossConfig(path_length=2.0, path_length_every=4)),
        mixed_w_plus=lambda variables, w, *_: w,
        synthesize=lambda variables, w, _: jnp.broadcast_to(
            variables["params"] * w.sum((1, 2))[:, None, None, None], (3, 2, 2, 3)
        ),
    )
    y = np.random.default_rng(0).standard_normal((3, 2, 2, 3)).astype(np.float32)
    drawn = types.SimpleNamespace(latents=jnp.ones((3, 2, 1)), noise=None, pixels=y)
    state = types.SimpleNamespace(path_mean=0.9, basis=None)
    loss, length = regularisers.loss_path(linear, 0.7, state, None, drawn)
    lengths = np.abs(0.7 * y.sum((1, 2, 3)) / 2)
    np.testing.assert_allclose(length, lengths.mean(), rtol=1e-5)
    np.testing.assert_allclose(loss, 2.0 * 4 * np.square(lengths - 0.9).mean(), rtol=1e-5)


@pytest.mark.parametrize("rows, group", [(24, 4), (24, 3), (24, 1), (24, 5), (30, 4), (8, 4), (6, 4), (1, 4)])
def test_half_of_the_rows_has_each_attribute_half_as_often(rows, group):
    """Six attributes, in whole groups, of which a half cuts one of 3 samples, and in rows that form none."""
    labels = np.random.default_rng(0).permutation(np.arange(rows) % 6)
    given = np.eye(6, dtype=np.float32)[labels][inputs.group_rows(np.eye(6)[labels], group)]
    found = regularisers.halve(given, group)
    assert len(found) == max(1, rows // 2)
    assert np.abs(2 * found.sum(0) - given.sum(0)).max() <= (2 if group == 3 else 1)
