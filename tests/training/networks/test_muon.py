"""Kernels move in all directions alike, everything else as under Adam, at the rates of the schedule."""

import jax
import numpy as np
import optax
import pytest

from sdgan_jax.training.networks import muon

PEAK, STEPS, WARM = 0.01, 200, 10


@pytest.fixture(scope="module")
def updates():
    """Updates of steps 0 to STEPS for gradients that do not change."""
    rng = np.random.default_rng(0)
    params = {
        "conv": {"kernel": rng.normal(size=(4, 4, 3, 8)).astype(np.float32)},
        "norm": {"scale": rng.normal(size=8).astype(np.float32)},
        "prototypes": rng.normal(size=(6, 8)).astype(np.float32),
    }
    gradient = jax.tree.map(lambda array: rng.normal(size=array.shape).astype(np.float32), params)
    optimizer = muon.optimizer(PEAK, STEPS)

    def step(state, _):
        change, state = optimizer.update(gradient, state, params)
        return state, change

    changes = jax.lax.scan(step, optimizer.init(params), None, STEPS + 1)[1]
    return gradient, jax.tree.map(np.asarray, changes)


def test_a_kernel_s_singular_values_are_alike(updates):
    gradient, changes = updates
    matrix = changes["conv"]["kernel"][WARM].reshape(48, 8)
    sizes = np.linalg.svd(matrix, compute_uv=False) / (PEAK * 0.2 * np.sqrt(48))
    assert 0.6 < sizes.min() and sizes.max() < 1.3  # of five iterations of Newton and Schulz
    u, _, vt = np.linalg.svd(gradient["conv"]["kernel"].reshape(48, 8), full_matrices=False)
    cosine = (-matrix * (u @ vt)).sum() / np.linalg.norm(matrix) / np.sqrt(8)
    assert cosine > 0.97


@pytest.mark.parametrize("name", ["norm", "prototypes"])
def test_all_else_is_adam_s(updates, name):
    """Of a gradient that does not change, Adam makes its sign, and Nesterov's look ahead at first a little more."""
    gradient, changes = (jax.tree.leaves(tree[name])[0] for tree in updates)
    np.testing.assert_allclose(changes[WARM], -0.25 * PEAK * np.sign(gradient), rtol=0.02)


def test_the_rate_rises_and_falls(updates):
    _, changes = updates
    rates = np.abs(changes["norm"]["scale"]).mean(1) / (0.25 * PEAK)
    assert rates[0] == 0 and rates[WARM // 2] == pytest.approx(0.5, rel=0.03)
    assert rates[WARM] == pytest.approx(1, rel=0.02) == rates.max()
    half = WARM + (STEPS - WARM) // 2
    assert rates[half] == pytest.approx(0.5, rel=1e-3) and rates[STEPS] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_a_rate(steps):
    params = {"kernel": np.ones((3, 2), np.float32)}
    optimizer = muon.optimizer(PEAK, steps)
    changes, state = [], optimizer.init(params)
    for _ in range(steps + 1):
        change, state = jax.jit(optimizer.update)(params, state, params)
        changes.append(np.abs(change["kernel"]).max())
    assert max(changes) > 0 and changes[-1] == pytest.approx(0, abs=1e-9)


def test_weight_decay_is_of_everything():
    params = {"kernel": np.full((3, 2), 2.0, np.float32), "bias": np.full(2, 2.0, np.float32)}
    nothing = jax.tree.map(np.zeros_like, params)
    optimizer = muon.optimizer(PEAK, 1000, weight_decay=0.1)
    update, state = jax.jit(optimizer.update), optimizer.init(params)
    for _ in range(51):
        change, state = update(nothing, state, params)
    np.testing.assert_allclose(change["kernel"], -PEAK * 0.1 * 2.0, rtol=1e-5)
    np.testing.assert_allclose(optax.tree.norm(change["bias"]), 0.25 * PEAK * 0.1 * 2.0 * 2**0.5, rtol=1e-5)
