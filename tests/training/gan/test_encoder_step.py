"""The stage `encoder`: its loss by hand, its gradient by finite differences, and what stays frozen."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax import pictures
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding, shards
from sdgan_jax.training.gan import encoder_step, inputs, sheets, weights
from sdgan_jax.training.gan.encoder_step import Rows
from tests.training import tiny

LENGTH, D, LAYERS, STEPS = 3.0, 12, 4, 40
WEIGHTS = c.EncoderLossConfig(pixels=2.0, perceptual=3.0, latent=0.5, pull=0.25, attribute=1.5)
FACTORS = (2.0, 3.0, 0.5, 0.25, 1.5)


def make_config(**fields):
    base = {
        "recipe": "staged",
        "latent_space": "w",
        "basis_length": LENGTH,
        "encoder": c.EncoderConfig(width=4, width_max=4, hidden=8, rank=2),
        "staged": c.StagedConfig(encoder_losses=WEIGHTS),
        "adam_e": c.AdamConfig(0.01, 0.9, 0.99, epsilon=0.01),
    }
    return tiny.config(**(base | fields))


CONFIG = make_config()


def features(images):
    """Stands for the frozen networks: two layers of products of colours."""
    small = images.reshape(-1, 4, 2, 4, 2, 3).mean((2, 4))
    return images * images[..., ::-1] + 0.5, jnp.concatenate((small, small**2), -1)


def make_rows(count=3, seed=0):
    rng = np.random.default_rng(seed)
    attributes = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    attributes[-1] = [0, 1, 1]
    real = np.tanh(rng.standard_normal((count, 8, 8, 3)))
    return Rows(np.float32(real), attributes, np.float32(rng.standard_normal((count, D))))


def distance_by_hand(a, b):
    """The perceptual distance of two images by `features`, as two minus twice the cosine."""
    total = []
    for x, y in zip(features(a), features(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        cosine = (x * y).sum(-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
        total.append((2 - 2 * cosine).mean())
    return np.mean(total)


def test_the_loss_by_hand():
    nets, state, rows = make_networks(CONFIG), tiny.random_state(CONFIG), make_rows()
    variables = {"params": state.ema_g, "buffers": state.buffers_g}
    draw = jax.jit(lambda w: nets.synthesize(variables, w, "const"))
    encode = jax.jit(lambda images: nets.encoder.apply({"params": state.params_e}, images, rows.attributes))
    w = np.asarray(jax.jit(nets.map)(variables, rows.z)) + LENGTH * rows.attributes @ state.basis
    w_plus = np.repeat(w[:, None], LAYERS, 1)
    (difference, real_logits), (again, drawn_logits) = (jax.device_get(encode(x)) for x in (rows.real, draw(w_plus)))
    share = rows.attributes / rows.attributes.sum(1, keepdims=True)
    surprise = [-(share * (x - np.log(np.exp(x).sum(1, keepdims=True)))).sum(1) for x in (real_logits, drawn_logits)]
    rebuilt = np.asarray(draw(state.w_avg + difference))
    halves = (rebuilt - rows.real).reshape(3, 4, 2, 4, 2, 3).mean((2, 4))
    expected = {
        "l_pixels": (np.abs(rebuilt - rows.real).mean() + np.abs(halves).mean()) / 2,
        "l_perceptual": distance_by_hand(rebuilt, rows.real),
        "l_latent": np.square(state.w_avg + again - w_plus).mean(),
        "l_pull": np.square(difference).mean(),
        "l_attribute": np.mean(surprise),
    }
    compute = jax.jit(functools.partial(encoder_step.loss_e, nets, features))
    total, values = compute(state, state.params_e, rows)
    assert set(values) == set(encoder_step.LOSSES)
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-3, err_msg=name)
    by_hand = [factor * expected[name] for factor, name in zip(FACTORS, encoder_step.LOSSES, strict=True)]
    np.testing.assert_allclose(total, sum(by_hand), rtol=1e-3)


def test_faces_that_g_draws_wear_what_its_basis_moves():
    """G knows the second attribute alone; faces of the first one, and of both, are told apart by it."""
    basis = np.float32([[0, 0], [0, 0], [0, 3]])
    wanted = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    found = encoder_step.drawn_attributes(wanted, basis)
    np.testing.assert_array_equal(found, [[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]])


def test_a_plain_stylegan2_draws_plain_faces_for_e():
    """Its faces G(w) are not moved, and E learns that they wear nothing: the loss of those without attributes."""
    nets, rows = make_networks(CONFIG), make_rows()
    state = tiny.random_state(CONFIG).replace(basis=np.zeros((3, D), np.float32))
    compute = jax.jit(functools.partial(encoder_step.loss_e, nets, features, state))
    found, none = (
        compute(state.params_e, Rows(rows.real, attributes, rows.z))[1]
        for attributes in (rows.attributes, np.eye(3, dtype=np.float32)[[0] * 3])
    )
    np.testing.assert_allclose(found["l_latent"], none["l_latent"], rtol=1e-5)
    assert found["l_pixels"] != pytest.approx(float(none["l_pixels"]), rel=1e-3)  # the real faces wear theirs


def test_the_gradient_is_that_of_finite_differences():
    """Along the gradient itself, in float64."""
    nets, h = make_networks(CONFIG), 1e-4
    with jax.enable_x64(True):
        state, rows = jax.tree.map(
            lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, (tiny.random_state(CONFIG), make_rows())
        )

        def loss(params):
            return encoder_step.loss_e(nets, features, state, params, rows)[0]

        compute, gradient = jax.jit(loss), jax.jit(jax.grad(loss))(state.params_e)
        squared = sum(float(np.square(g).sum()) for g in jax.tree.leaves(gradient))
        ends = [
            compute(jax.tree.map(lambda p, g, h=s * h / squared**0.5: p + h * g, state.params_e, gradient))
            for s in (1, -1)
        ]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), squared**0.5, rtol=1e-3)


def run(config, devices, steps, fsdp=1):
    mesh, state = sharding.make_mesh(config.batch_size, jax.devices()[:devices], fsdp), tiny.random_state(config)
    state = jax.device_put(state, sharding.placed(state, mesh))
    step = sharding.map_step(encoder_step.make_step(make_networks(config), features), mesh)
    history = []
    for _ in range(steps):
        state, metrics = step(state, inputs.put_batch(tiny.random_batch(), mesh))
        history.append({name: float(value) for name, (value, _) in metrics.items()})
    return jax.device_get(state), history


@pytest.fixture(scope="module")
def four():
    return run(CONFIG, devices=4, steps=STEPS)


def total(values):
    return sum(f * values[name] for f, name in zip(FACTORS, encoder_step.LOSSES, strict=True))


def test_the_loss_falls_and_all_but_e_is_frozen(four):
    state, history = four
    assert total(history[-1]) < 0.8 * total(history[0])
    before = dict(tiny.named_leaves(tiny.random_state(CONFIG)))
    changed = {name.split("/")[0] for name, leaf in tiny.named_leaves(state) if not np.array_equal(leaf, before[name])}
    assert changed == {"step", "params_e", "opt_e"}
    assert state.step == STEPS and tiny.count(state.opt_e) == STEPS


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_device_and_parts_of_a_batch_give_the_same(four, accumulate):
    state, history = run(make_config(accumulate=accumulate), devices=1, steps=3)
    for found, expected in zip(history, four[1], strict=False):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)


@pytest.mark.slow
def test_devices_that_share_a_copy_of_the_state_give_the_same(four, monkeypatch):
    monkeypatch.setattr(shards, "LEAST", 64)
    state, history = run(CONFIG, devices=4, steps=STEPS, fsdp=2)
    for found, expected in zip(history, four[1], strict=True):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    for (name, a), (_, b) in zip(tiny.named_leaves(state), tiny.named_leaves(four[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max(), err_msg=name)


def test_training_writes_the_sheet_and_needs_a_generator(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_step.pretrained, "perceptual_network", lambda: features)
    config = make_config(
        data_dir=str(tmp_path / "data"), total_steps=2, log_every=1, sample_every=2, checkpoint_every=2
    )
    with pytest.raises(ValueError, match="the stage 'encoder' needs a trained generator; set --config.init=DIR"):
        encoder_step.train(make_networks(config), tmp_path / "run")
    narrow = make_config(generator=dataclasses.replace(CONFIG.generator, channel_max=4))
    model = tiny.random_state(narrow)
    weights.write(tmp_path / "narrow", narrow, {name: getattr(model, name) for name in weights.FIELDS})
    with pytest.raises(ValueError, match="ema_g/synthesis/.* does not fit, and this training would leave it random"):
        encoder_step.train(
            make_networks(dataclasses.replace(config, init=str(tmp_path / "narrow"))), tmp_path / "refused"
        )
    model = tiny.random_state(CONFIG)
    weights.write(tmp_path / "model", CONFIG, {name: getattr(model, name) for name in weights.FIELDS})
    config.init = str(tmp_path / "model")
    state = jax.device_get(encoder_step.train(make_networks(config), tmp_path / "run"))
    assert state.step == 2
    for name in ("ema_g", "buffers_g", "w_avg", "basis"):
        for (leaf, a), (_, b) in zip(
            tiny.named_leaves(getattr(state, name)), tiny.named_leaves(getattr(model, name)), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=f"{name}/{leaf}")
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == ["encoded_000002.png"]


def test_each_row_of_the_sheet_has_its_reconstruction_below():
    nets, state = make_networks(CONFIG), tiny.random_state(CONFIG)
    reals = tiny.random_batch()["image"][:9]  # the ninth does not fill a row
    sheet = sheets.make_encoded(nets, reals)(state)["encoded"]
    variables = {"params": state.ema_g, "buffers": state.buffers_g}
    rebuild = jax.jit(lambda x: nets.synthesize(variables, nets.encode(state.params_e, x, state.w_avg), "const"))
    rebuilt = pictures.to_uint8(np.asarray(rebuild(pictures.to_float(reals[:8]))))
    expected = pictures.grid(np.concatenate((reals[:8], rebuilt)), 8, ["x", "G(E(x))"])
    assert np.abs(sheet.astype(int) - expected).max() <= 1
