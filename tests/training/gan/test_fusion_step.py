"""Stage 3: F's losses against closed forms, which arrays a step changes, and a small run."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from PIL import Image

from sdgan_jax import config as c
from sdgan_jax import latents, pictures
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding, shards
from sdgan_jax.training.gan import fusion_step, inputs, targets, weights
from tests.training import tiny
from tests.training.gan import edit_pairs

LOSSES = c.EditLossConfig(1.0, 0.5, 0.3, 0.2, 0.7, 0.1)


def features(images):
    return images[:, ::2, ::2], images.mean((1, 2), keepdims=True)


def identity(images):
    flat = images.reshape(len(images), -1)[:, :40]
    return flat / jnp.sqrt(jnp.square(flat).sum(1, keepdims=True))


JUDGES = fusion_step.Judges(features, identity)


def settings(**fields):
    adam = c.AdamConfig(0.01, 0.5, 0.99, epsilon=0.01)
    return edit_pairs.config(staged=c.StagedConfig(targets=16, edit_losses=LOSSES), adam_f=adam, **fields)


def batch_of(config, seed=0):
    """Pairs of random faces that differ in a square, half of them removals, in the order of targets."""
    rng = np.random.default_rng(seed)
    n, size = config.batch_size, config.resolution
    source, plain = rng.integers(0, 256, (2, n, size, size, 3), dtype=np.uint8)
    target = source.copy()
    target[:, 1:3, 2:4] ^= 128
    attributes = np.zeros((n, config.num_attributes), np.float32)
    attributes[np.arange(n), 1 + np.arange(n) % 2] = np.where(np.arange(n) // 2 % 2, -1, 1)
    latent = rng.standard_normal((n, config.num_layers, config.generator.latent_dim)).astype(np.float32)
    arrays = {"source": source, "target": target, "reconstruction": plain, "latent": latent}
    return arrays | {"attributes": attributes}


def run(config, devices, judges=JUDGES, fsdp=1):
    mesh, state = sharding.make_mesh(config.batch_size, jax.devices()[:devices], fsdp), tiny.random_state(config)
    state = jax.device_put(state, sharding.placed(state, mesh))
    step = sharding.map_step(fusion_step.make_step(make_networks(config), judges), mesh)
    before = jax.device_get(state)
    put = functools.partial(inputs.put_batch, mesh=mesh, group=config.discriminator.mbstd_group)
    state, metrics = step(state, put(batch_of(config)))
    return before, *jax.device_get((state, metrics))


@pytest.fixture(scope="module")
def one():
    return run(settings(), 1)


def test_only_f_is_changed(one):
    before, after, metrics = one
    changed = {
        field.name
        for field in dataclasses.fields(before)
        if any(
            not np.array_equal(a, b)
            for a, b in zip(
                *(jax.tree.leaves(getattr(state, field.name)) for state in (before, after)),
                strict=True,
            )
        )
    }
    assert changed == {"step", "params_f", "opt_f"} and after.step == 1
    assert set(metrics) == set(fusion_step.LOSSES)
    assert all(np.isfinite(value).all() and value[1] == 1 for value in metrics.values())
    moved = [np.abs(leaf).max() for leaf in jax.tree.leaves(tiny.first_moment(after.opt_f))]
    assert min(moved) > 0  # every parameter has a gradient


@pytest.mark.parametrize("fsdp", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_step_is_the_same_on_several_devices_and_in_parts(one, monkeypatch, fsdp):
    """The minibatch standard deviation ties four samples together; the groups are the same in both forms."""
    monkeypatch.setattr(shards, "LEAST", 64)
    _, after, metrics = run(settings(accumulate=2), 2, fsdp=fsdp)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, one[2][name], rtol=2e-3, atol=2e-4, err_msg=name)
    pairs = zip(tiny.named_leaves(after.params_f), tiny.named_leaves(one[1].params_f), strict=True)
    for (name, a), (_, b) in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3, err_msg=name)


def test_the_terms_are_those_of_the_paper(monkeypatch):
    """With a region given, each term by numpy and scipy."""
    config = settings()
    nets, state, batch = make_networks(config), tiny.random_state(config), batch_of(config)
    region = np.zeros((config.batch_size, 8, 8), np.float32)
    region[:, 1:3, 2:4] = 1
    monkeypatch.setattr(fusion_step.blending, "changed", lambda a, b, low, high: jnp.asarray(region))
    loss, values = jax.jit(lambda: fusion_step.loss_f(nets, JUDGES, state, state.params_f, batch))()

    source, target, plain = (pictures.to_float(batch[k]) for k in ("source", "target", "reconstruction"))
    attributes, rows = batch["attributes"], np.arange(len(source))
    offset = np.asarray(jax.jit(nets.offset)(state.params_f, source, attributes))
    w_plus = latents.edit(batch["latent"], attributes, 3.0 * state.basis, offset)
    edited = jax.jit(lambda w: nets.synthesize_scales(state.variables_ema, w, "const"))(w_plus)
    logits, attribute_logits = (np.asarray(x) for x in jax.jit(nets.discriminate)(state.params_d, edited))
    edited = np.asarray(edited[-1])
    wanted = np.where(region[..., None] == 1, target, plain)
    distance = np.abs(edited - wanted).mean(-1)
    pixels = 0.5 * distance.mean((1, 2)) + 0.5 * distance[:, 1:3, 2:4].mean((1, 2))
    removed = attributes.min(1) < 0
    labels = np.where(removed, 0, np.abs(attributes).argmax(1))
    aims = np.where(removed[:, None, None, None], target, source)
    cosines = [(np.asarray(identity(jnp.asarray(x))) for x in (edited, aims))]
    expected = {
        "l_pixels": pixels.mean(),
        "l_identity": -np.mean([a @ b for one, other in cosines for a, b in zip(one, other, strict=True)]),
        "l_attribute": -scipy.special.log_softmax(attribute_logits, 1)[rows, labels].mean(),
        "l_adversarial": np.logaddexp(0, -logits).mean(),
        "l_offset": np.square(offset).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-3, err_msg=name)
    factors = dataclasses.asdict(LOSSES)
    total = sum(factors[name[2:]] * float(value) for name, value in values.items())
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_place_weights():
    region = np.zeros((2, 8, 8), np.float32)
    region[0, 2:4, 2:4] = 1
    share = np.asarray(fusion_step.place_weights(jnp.asarray(region)))
    np.testing.assert_allclose(share.sum((1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(share[0, 2:4, 2:4], 0.5 / 4 + 0.5 / 64)
    np.testing.assert_allclose(share[1], 1 / 64)


def test_position_maps_that_are_known_are_not_found_again():
    config = settings()
    nets = dataclasses.replace(make_networks(config), position=lambda images: 1 / 0)
    seen = []

    def offset(params_f, images, attributes, count, maps):
        seen.append(maps)
        return jnp.zeros(())

    object.__setattr__(nets, "offset", offset)
    batch = batch_of(config) | {"position_map": np.ones((16, 4, 4, 3), np.float16)}
    fusion_step.find_offset(nets, {}, {name: jnp.asarray(array) for name, array in batch.items()})
    assert seen[0].dtype == jnp.float32 and seen[0].shape == (16, 4, 4, 3)


@pytest.fixture
def model_directory(monkeypatch, tmp_path):
    monkeypatch.setattr(targets.rendered, "read", edit_pairs.read)
    monkeypatch.setattr(fusion_step, "make_step", lambda nets, judges: STEP(nets, JUDGES))
    config = settings(total_steps=2, log_every=1, sample_every=2, checkpoint_every=2, init=str(tmp_path / "model"))
    weights.write(config.init, config, edit_pairs.trees(config))
    return config, tmp_path / "run"


STEP = fusion_step.make_step


def test_a_run_trains_f_and_resumes_without_the_first_model(model_directory, monkeypatch, tmp_path):
    config, workdir = model_directory
    nets = make_networks(config)
    state = jax.device_get(fusion_step.train(nets, workdir))
    trees = edit_pairs.trees(config)
    assert state.step == 2 and tiny.count(state.opt_f) == 2
    np.testing.assert_array_equal(state.basis, trees["basis"])
    for name in ("ema_g", "params_d", "params_e"):
        for (leaf, a), (_, b) in zip(
            tiny.named_leaves(getattr(state, name)), tiny.named_leaves(trees[name]), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=leaf)
    with Image.open(workdir / "samples" / "edits_000002.png") as sheet:
        assert sheet.width > 6 * 8 and sheet.height > targets.SHOWN * 8

    (tmp_path / "model" / "config.json").unlink()
    monkeypatch.setattr(targets, "make_pairs", lambda *_: 1 / 0)
    targets.prepare(nets, fusion_step.starting_model(nets, workdir), workdir)  # the pairs are those of before


def test_models_that_do_not_fit_are_refused(tmp_path):
    config = settings()
    with pytest.raises(ValueError, match="needs a model with G, D, E and a basis; set --config.init"):
        fusion_step.starting_model(make_networks(config), tmp_path / "run")
    trees = edit_pairs.trees(config)
    for name, network in (("params_e", "encoder"), ("params_d", "discriminator")):
        path = tmp_path / name
        weights.write(path, config, {key: tree for key, tree in trees.items() if key != name})
        with pytest.raises(ValueError, match=f"{name} has no {network}, which the stage fusion needs"):
            fusion_step.starting_model(make_networks(dataclasses.replace(config, init=str(path))), tmp_path / "run")
    weights.write(tmp_path / "full", config, trees)
    names = config.attributes
    swapped = dataclasses.replace(config, init=str(tmp_path / "full"), attributes=(names[0], *names[:0:-1]))
    with pytest.raises(ValueError, match=f"the attributes of .*full are {', '.join(names)}, in this order"):
        fusion_step.starting_model(make_networks(swapped), tmp_path / "run")
    other = settings(init=str(tmp_path / "full"), encoder=c.EncoderConfig(width=4, width_max=4, hidden=6, rank=2))
    with pytest.raises(ValueError, match="the encoder of .*full has other sizes than config"):
        fusion_step.starting_model(make_networks(other), tmp_path / "run")
