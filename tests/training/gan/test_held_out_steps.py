"""Steps whose augmentation follows images that D is not trained on."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding
from sdgan_jax.training.gan import joint_step, overfitting
from tests.training import tiny
from tests.training.gan.steps import LITERAL, STEPS, place, put


def run_held_out(devices, **augment):
    """Takes the steps of `run`, p following r_v of the held-out images of another batch."""
    config = dataclasses.replace(LITERAL, augment=c.AugmentConfig("bgc", "r_v", kimg=0.1, every=2, **augment))
    mesh, state = place(config, devices)
    step = sharding.map_step(joint_step.make_step(make_networks(config)), mesh)
    history, held_out = [(jax.device_get(state), None)], put(tiny.random_batch(9), mesh)
    for index in range(STEPS):
        state, metrics = step(state, put(tiny.random_batch(index), mesh) | {"held_out": held_out})
        history.append(jax.device_get((state, metrics)))
    return history


@pytest.mark.slow
def test_augmentation_follows_held_out_images():
    """p moves at the second step, up where r_v of D's mean logits of the two steps is above the target."""
    (_, _), (first, some), (second, others), (third, _) = run_held_out(4, target_r_v=0.5)
    names = [f"logits_{name}" for name in ("real", "held_out", "fake")]
    seen, unseen, generated = (some[name][0] + others[name][0] for name in names)
    moved = 0.62 if (seen - unseen) > 0.5 * (seen - generated) else 0.0
    np.testing.assert_allclose([first.augment_p, second.augment_p, third.augment_p], [0.3, moved, moved], rtol=1e-6)


@pytest.mark.slow
def test_held_out_images_are_measured_alike_on_any_number_of_devices():
    four, one = run_held_out(4), run_held_out(1)
    assert four[2][1]["logits_held_out"][0] == pytest.approx(one[2][1]["logits_held_out"][0], rel=1e-4)
    assert four[2][0].augment_p == one[2][0].augment_p


@pytest.mark.parametrize(
    ("step", "held_out", "moved"), [(1, -1.0, 0.62), (1, 1.0, 0.0), (0, -1.0, 0.3), (1, None, 0.62), (1, None, 0.0)]
)
def test_p_follows_the_held_out_images_where_there_are_any(step, held_out, moved):
    """Real images at 2, generated ones at -3, target 0.5: r_v of held-out images is 0.6 at -1 and 0.2 at 1.

    Without them p follows the signs, 0.9 or 0.1 against 0.6. It moves at the second step, by 2 · 16 of 100 images.
    """
    config = dataclasses.replace(LITERAL, augment=c.AugmentConfig("bgc", "r_v", kimg=0.1, every=2, target_r_v=0.5))
    state = tiny.random_state(config).replace(step=np.int32(step))
    if held_out is None:
        state = state.replace(augment_signs=np.float32(0.9 if moved else 0.1))
    values = {"logits_real": 2.0, "logits_fake": -3.0, "signs_real": 0.9 if moved else 0.1}
    if held_out is not None:
        values["logits_held_out"] = held_out
    finished = joint_step.finish_step(config, state, state.w_avg, {name: jnp.float32(v) for name, v in values.items()})
    assert float(finished.augment_p) == pytest.approx(moved, abs=1e-6)


def test_logits_of_held_out_images_are_those_of_d(monkeypatch):
    """D answers with the mean colour: 8-bit level 153 is 0.2 in [-1,1]."""
    nets = types.SimpleNamespace(
        config=LITERAL,
        augment_for_d=lambda images, keys, p: images,
        discriminate=lambda params, images, attributes: (images[-1].mean((1, 2, 3)), None),
    )
    mesh, state = place(LITERAL, 4)
    batch = put({"image": np.full((16, 8, 8, 3), 153, np.uint8), "attributes": tiny.random_batch()["attributes"]}, mesh)

    def measure(state, held_out):
        return state, jax.lax.pmean(overfitting.logits_held_out(nets, state, held_out), sharding.AXIS)

    _, found = sharding.map_step(measure, mesh)(state, batch)
    assert float(found) == pytest.approx(0.2, rel=1e-5)
