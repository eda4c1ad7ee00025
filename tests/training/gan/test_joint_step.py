"""The training step: the same on any number of devices, and the pseudo-code of SD-GAN where it is asked for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sdgan_jax import augmentation
from sdgan_jax import config as c
from sdgan_jax.benchmark import hlo
from sdgan_jax.nets.discriminator import Discriminator
from sdgan_jax.nets.fusion import Fusion
from sdgan_jax.nets.generator import Generator, Mapping
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding, shards
from sdgan_jax.training.gan import joint_step
from tests.training import tiny
from tests.training.gan.steps import LATENT, LITERAL, assert_close, laid_out, place, put, run

SIX = ("l_adv_g", "l_adv_d", "l_att_g", "l_att_d", "l_id_g", "l_rec_f")


@pytest.fixture(scope="module")
def four():
    return run(LATENT, devices=4)


def test_one_and_four_devices_agree(four):
    _, one = run(LATENT, devices=1)
    for (state, metrics), (expected, expected_metrics) in zip(four[1][1:], one[1:], strict=True):
        assert_close(metrics, expected_metrics)
        assert_close(state, expected)


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [2, 4])
def test_devices_that_share_a_copy_of_the_state_agree_with_those_that_do_not(four, monkeypatch, fsdp):
    """The order of sums alone differs. All phases are due at the first step, the regularisers at the third."""
    monkeypatch.setattr(shards, "LEAST", 64)  # two thirds of the arrays of the tiny networks
    step, shared = run(LATENT, 4, fsdp)
    for (state, metrics), (expected, expected_metrics) in zip(shared[1:], four[1][1:], strict=True):
        for (name, a), (_, b) in zip(
            tiny.named_leaves((state, metrics)), tiny.named_leaves((expected, expected_metrics)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6 * np.abs(b).max(), err_msg=name)
    mesh, state = place(LATENT, 4, fsdp)
    compiled = step.lower(state, put(tiny.random_batch(), mesh)).compile()
    program, cut = hlo.Program(compiled.as_text()), [leaf for leaf in jax.tree.leaves(state) if len(leaf.sharding.spec)]
    assert compiled.memory_analysis().alias_size_in_bytes == count_bytes(state) - count_bytes(cut) * (fsdp - 1) // fsdp
    assert len(program.aliased()) == len(jax.tree.leaves(state))
    # G and D are gathered for the main update and for their regulariser, F once; their gradients are scattered.
    params = 2 * (jax.tree.leaves((state.params_g, state.params_d))) + jax.tree.leaves(state.params_f)
    exchanged = [leaf.nbytes for leaf in params if len(leaf.sharding.spec)]
    for kind, share in (("all-gather", 1), ("reduce-scatter", fsdp)):
        found = [one.bytes * share for one in program.collectives() if one.kind == kind]
        assert sorted(found) == sorted(exchanged), kind


def test_compiles_once(four):
    step, _ = four
    assert step._cache_size() == 1


def test_other_rates_and_weights_are_the_same_program():
    losses = dataclasses.replace(LATENT.losses, attribute_g=0.3, r1=0.2, path_length=0.1, edit_attribute=0.9)
    adam = c.AdamConfig(learning_rate=0.02, beta1=0.4, beta2=0.9, epsilon=0.02)
    other = dataclasses.replace(LATENT, losses=losses, adam_g=adam, adam_d=adam, adam_f=adam, ema_kimg=0.2)
    texts = []
    for config in (LATENT, other, dataclasses.replace(LATENT, losses=dataclasses.replace(losses, r1=0.0))):
        mesh, state = place(config, 1)
        step = sharding.map_step(joint_step.make_step(make_networks(config)), mesh)
        texts.append(step.lower(state, put(tiny.random_batch(), mesh)).as_text())
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_nothing_travels_between_host_and_device_in_a_step(four):
    step, _ = four
    mesh, state = place(LATENT, 4)
    batch = put(tiny.random_batch(), mesh)
    assert "callback" not in str(step.trace(state, batch).jaxpr)
    with jax.transfer_guard("disallow"):
        step(state, batch)
        with pytest.raises(Exception, match="[Dd]isallowed"):  # the guard is awake
            batch["attributes"] + np.float32(1)


@pytest.fixture(scope="module")
def compiled(four):
    """The compiled step of `four`, its program, and the state that it takes."""
    mesh, state = place(LATENT, 4)
    compiled = four[0].lower(state, put(tiny.random_batch(), mesh)).compile()
    return compiled, hlo.Program(compiled.as_text()), state


def count_bytes(*trees):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(trees))


def test_each_update_averages_its_gradients_in_one_exchange_and_no_other_is_made(compiled):
    _, program, state = compiled
    exchanges = program.collectives()
    assert {(one.kind, one.group) for one in exchanges} == {("all-reduce", 4)}
    path_length, r1, main = sorted(one.bytes for one in exchanges)
    size_g, size_d, size_f = (count_bytes(tree) for tree in (state.params_g, state.params_d, state.params_f))
    assert size_g < size_d  # which tells the three apart
    numbers = 4 * (LATENT.generator.latent_dim + 20)  # w and the values to log
    for one, size in ((path_length, size_g), (r1, size_d), (main, size_g + size_d + size_f)):
        assert 0.98 * size < one <= size + numbers  # the attribute head has no gradient of R1, for example


def test_the_step_never_waits_for_the_host(compiled):
    assert not compiled[1].host_transfers()


def test_the_new_state_takes_the_place_of_the_old_one(compiled):
    compiled, program, state = compiled
    assert len(program.aliased()) == len(jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes == count_bytes(state)


def test_fusion_learns_on_the_steps_where_it_is_due(four):
    """The other networks learn on all of them, and no step leaves the basis or the noise changed."""
    states = [state for state, _ in four[1]]
    for index, (old, new) in enumerate(zip(states, states[1:])):
        for field in ("params_f", "opt_f"):
            same = [
                np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (getattr(old, field), getattr(new, field))))
            ]
            assert not any(same) if index % 3 == 0 else all(same), (index, field)
        for field in ("params_g", "params_d"):
            changed = [
                np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (getattr(old, field), getattr(new, field))))
            ]
            assert min(changed) > 0, (index, field)
        np.testing.assert_array_equal(new.basis, old.basis)
        assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (old.buffers_g, new.buffers_g))))
        assert new.step == index + 1


def test_metrics_say_whether_they_were_measured(four):
    for index, (_, metrics) in enumerate(four[1][1:]):
        weights = {name: value[1] for name, value in metrics.items()}
        assert weights.pop("r1") == (index % 2 == 0) and weights.pop("l_rec_f") == (index % 3 == 0)
        assert weights.pop("path_length") == (index % 2 == 0)
        assert set(weights) >= set(SIX) - {"l_rec_f"} and set(weights.values()) == {1.0}
        assert (metrics["r1"][0] > 0) == (index % 2 == 0) and (metrics["l_rec_f"][0] > 0) == (index % 3 == 0)


def test_a_regulariser_is_an_update_of_its_own(four):
    """Adam counts two updates of G and of D in the steps where their regulariser is due, one of them in the others."""
    for field in ("opt_g", "opt_d"):
        assert [tiny.count(getattr(state, field)) for state, _ in four[1]] == [0, 2, 3, 5]


def test_average_path_length_follows(four):
    states = [state for state, _ in four[1]]
    for old, new, (_, metrics) in zip(states, states[1:], four[1][1:]):
        length, measured = metrics["path_length"]
        expected = 0.99 * old.path_mean + 0.01 * length if measured else old.path_mean
        np.testing.assert_allclose(new.path_mean, expected, rtol=1e-5)


@pytest.mark.slow
def test_accumulated_parts_make_the_update_of_the_whole_batch(four):
    """On one device in two parts, on two devices in two parts each: what four devices make of it at once."""
    for devices in (1, 2):
        _, accumulated = run(dataclasses.replace(LATENT, accumulate=2), devices)
        for (state, metrics), (expected, expected_metrics) in zip(accumulated[1:], four[1][1:], strict=True):
            assert_close(metrics, expected_metrics)
            assert_close(state, expected)


@pytest.mark.slow
def test_augmentation_follows_the_signs_of_the_real_logits(literal):
    """p moves every second step, by 2 · 16 / 1000 of 0.1 kimg, against a target that no mean sign reaches or misses."""
    for target, direction in ((-2.0, 1), (2.0, -1)):
        augment = c.AugmentConfig("bgc", target=target, kimg=0.1, every=2)
        _, history = run(dataclasses.replace(LITERAL, augment=augment), 4)
        states = [state for state, _ in history]
        moved = np.clip(0.3 + direction * 2 * 16 / 100, 0, 1)
        np.testing.assert_allclose([state.augment_p for state in states], [0.3, 0.3, moved, moved], rtol=1e-6)
        # The mean over 16 logits of their signs: what was gathered is a multiple of 2 / 16, and is forgotten at a move.
        gathered = [8 * float(state.augment_signs) for state in states]
        np.testing.assert_allclose(gathered, np.round(gathered), atol=1e-4)
        assert gathered[0] == gathered[2] == 0 and gathered[1] != 0
        np.testing.assert_allclose([m["augment_p"][0] for _, m in history[1:]], [0.3, moved, moved], rtol=1e-6)
    for name in ("logits_real", "logits_fake"):  # of the same images without augmentation
        assert abs(history[1][1][name][0] - literal[1][name][0]) > 1e-3, name


def test_d_is_shown_augmented_images():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    nets = make_networks(dataclasses.replace(LITERAL, augment=c.AugmentConfig("bgc")))
    (shown,) = nets.augment_for_d(["a smaller version", images], keys, jnp.float32(1.0))
    np.testing.assert_array_equal(shown, augmentation.augment(keys, images, jnp.float32(1.0)))
    assert np.abs(shown - images).max() > 0.1
    assert make_networks(LITERAL).augment_for_d(["smaller", images], keys, 1.0) == ["smaller", images]


def test_moving_average_of_the_generator(four):
    """Half-life min(100 images, half of those seen), batch 16: 8, 16 and 24 images after steps 1, 2 and 3."""
    states = [state for state, _ in four[1]]
    for old, new, decay in zip(states, states[1:], (0.5 ** (16 / 8), 0.5 ** (16 / 16), 0.5 ** (16 / 24))):
        expected = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, old.ema_g, new.params_g)
        assert_close(new.ema_g, expected)


@pytest.mark.parametrize("done", [1000, 2**28])  # of the latter, int32 could not count the images
def test_moving_average_reaches_its_half_life(four, done):
    step, _ = four
    mesh, state = place(LATENT, 4)
    old, index = jax.device_get(state.ema_g), jax.device_put(np.int32(done), sharding.replicated(mesh))
    new, _ = step(state.replace(step=index), put(tiny.random_batch(), mesh))
    decay = 0.5 ** (16 / 100)
    assert_close(new.ema_g, jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, old, jax.device_get(new.params_g)))


def sample_keys(config, step, phase):
    """One key a sample: seed, then step, then phase, then place in the global batch."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), step), phase)
    return jnp.stack([jax.random.fold_in(key, i) for i in range(config.batch_size)])


def latents_of(config, step):
    dim = config.generator.latent_dim
    return jnp.stack([jax.random.normal(key, (dim,)) for key in sample_keys(config, step, 0)])


def test_moving_average_of_w(four):
    states = [state for state, _ in four[1]]
    for index, (old, new) in enumerate(zip(states, states[1:])):
        w = Mapping(12, 1, 1.0).apply({"params": old.params_g["mapping"]}, latents_of(LATENT, index))
        np.testing.assert_allclose(new.w_avg, 0.9 * old.w_avg + 0.1 * w.mean(0), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def literal():
    """One step of the pseudo-code on four devices: the new state and the metrics."""
    mesh, state = place(LITERAL, 4)
    return jax.device_get(
        sharding.map_step(joint_step.make_step(make_networks(LITERAL)), mesh)(state, put(tiny.random_batch(), mesh))
    )


@pytest.mark.slow
def test_pmap_of_the_step_agrees(literal):
    """`jax.pmap` over `data`, one device along `fsdp`, the state on every device, rows dealt out like cards."""
    state, batch = tiny.random_state(LITERAL), laid_out(tiny.random_batch())
    rows = {name: np.stack([array[device::4] for device in range(4)])[:, None] for name, array in batch.items()}
    step = jax.vmap(joint_step.make_step(make_networks(LITERAL)), in_axes=(None, 0), axis_name="fsdp")
    states = jax.device_get(jax.pmap(step, axis_name="data", in_axes=(None, 0))(state, rows))
    for device in range(4):
        assert_close(jax.tree.map(lambda x, d=device: x[d, 0], states), literal)


def pseudo_code(state, x, y, z, noise_hat, noise_rec):
    """The inner loop of SD-GAN's pseudo-code: the six losses, and the gradients for G, D and F."""
    config = LITERAL
    net_g, net_d = Generator(config.generator, 8), Discriminator(config.discriminator, 3)
    net_f = Fusion(config.fusion, 3, 1, config.generator.latent_dim)
    bce, ce = optax.sigmoid_binary_cross_entropy, optax.softmax_cross_entropy_with_integer_labels

    def g(params, latent, noise):
        w = net_g.apply({"params": params}, latent, method="map")
        return net_g.apply({"params": params}, jnp.stack([w] * 4, 1), noise, method="synthesize")[-1]

    def loss_g(params):
        x_hat = g(params, z + state.basis[y], noise_hat)
        d_fake, y_fake = net_d.apply({"params": state.params_d}, x_hat)
        unit = lambda a: a / jnp.linalg.norm(a, axis=-1, keepdims=True)  # noqa: E731
        l_adv, l_att = bce(d_fake, jnp.ones(16)).mean(), ce(y_fake, y).mean()
        l_id = -jnp.sum(unit(x_hat) * unit(x), -1).mean()
        return l_adv + l_att + l_id, (l_adv, l_att, l_id, x_hat)

    def loss_d(params, x_hat):
        (d_real, y_real), (d_fake, y_fake) = (net_d.apply({"params": params}, images) for images in (x, x_hat))
        l_adv = bce(d_real, jnp.ones(16)).mean() + bce(d_fake, jnp.zeros(16)).mean()
        l_att = ce(y_real, y).mean() + ce(y_fake, y).mean()
        return l_adv + l_att, (l_adv, l_att)

    def loss_f(params):
        o = net_f.apply({"params": params}, x, jax.nn.one_hot(y, 3))[:, 0]
        return jnp.abs(g(state.params_g, z + o, noise_rec) - x).mean()

    grad_g, (l_adv_g, l_att_g, l_id_g, x_hat) = jax.grad(loss_g, has_aux=True)(state.params_g)
    grad_d, (l_adv_d, l_att_d) = jax.grad(loss_d, has_aux=True)(state.params_d, x_hat)
    l_rec_f, grad_f = jax.value_and_grad(loss_f)(state.params_f)
    return dict(zip(SIX, (l_adv_g, l_adv_d, l_att_g, l_att_d, l_id_g, l_rec_f))), (grad_g, grad_d, grad_f)


def test_the_literal_form_is_the_pseudo_code(literal):
    (state, metrics), old, batch = literal, tiny.random_state(LITERAL), laid_out(tiny.random_batch())
    x, y = batch["image"] / np.float32(127.5) - 1, batch["attributes"].argmax(1)
    noises = (sample_keys(LITERAL, 0, phase) for phase in (1, 2))
    losses, gradients = jax.jit(pseudo_code)(old, x, y, latents_of(LITERAL, 0), *noises)
    for name in SIX:
        np.testing.assert_allclose(metrics[name], [losses[name], 1.0], rtol=1e-4, atol=1e-5, err_msg=name)

    adam = optax.adam(0.0002, b1=0.5, b2=0.999)
    for net, gradient in zip("gdf", gradients):
        params = getattr(old, f"params_{net}")
        moment = jax.tree.map(lambda leaf: leaf / 0.5, tiny.first_moment(getattr(state, f"opt_{net}")))
        assert_close(moment, gradient)
        update, _ = adam.update(gradient, adam.init(params))
        # Where a gradient is mere rounding, its sign, and with it Adam's first update, is chance. Where a ReLU is shut
        # for every face, it is exactly zero.
        clear = jax.tree.map(lambda leaf: (np.abs(leaf) > 1e-4 * np.abs(leaf).max()) | (leaf == 0), gradient)
        moved = jax.tree.map(np.subtract, getattr(state, f"params_{net}"), params)
        for (name, a), b, where in zip(tiny.named_leaves(moved), *map(jax.tree.leaves, (update, clear)), strict=True):
            assert where.mean() > 0.9, name
            np.testing.assert_allclose(a[where], np.asarray(b)[where], atol=2e-6, err_msg=name)


@pytest.mark.slow
def test_the_options_of_the_networks_and_losses_work_together():
    """Multi-scale gradients, feature heads, AdaIN, hinge, bfloat16 and remat in one step: all parts of G and D move."""
    config = dataclasses.replace(
        LATENT,
        generator=dataclasses.replace(LATENT.generator, style="adain", low_precision_blocks=1, remat=True),
        discriminator=dataclasses.replace(
            LATENT.discriminator,
            multi_scale="cat_lin",
            feature_heads=4,
            low_precision_blocks=1,
            conv_clamp=256.0,
            remat=True,
        ),
        losses=dataclasses.replace(LATENT.losses, adversarial_kind="hinge"),
    )
    step, history = run(c.validate(config), devices=2)
    assert step._cache_size() == 1
    for old, (new, metrics) in zip([state for state, _ in history], history[1:]):
        assert all(np.isfinite(value).all() for value in metrics.values())
        np.testing.assert_allclose(metrics["l_adv_g"][0], -metrics["logits_fake"][0], rtol=1e-4)  # the hinge loss of G
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), (old.params_g, old.params_d), (new.params_g, new.params_d)
        )
        assert all(np.isfinite(change) for change in jax.tree.leaves(moved))
        assert moved[1]["join_4"]["conv"]["kernel"] > 0
        assert all(moved[1][f"features_{size}"]["conv"]["kernel"] > 0 for size in (32, 16, 8, 4))
        assert moved[0]["synthesis"]["rgb_4"]["bias"] > 0
        assert moved[0]["synthesis"]["conv_8"]["adain"]["shift"]["kernel"] > 0


def test_a_plain_stylegan2_has_neither_f_nor_attribute_head():
    config = c.validate(dataclasses.replace(LATENT, attributes=("none",)))
    mesh = sharding.make_mesh(config.batch_size, jax.devices()[:1])
    state = jax.device_put(tiny.random_state(config), sharding.replicated(mesh))
    assert state.params_f == {} and "attribute" not in state.params_d
    batch = tiny.random_batch() | {"attributes": np.ones((tiny.BATCH, 1), np.float32)}
    new, metrics = sharding.map_step(joint_step.make_step(make_networks(config)), mesh)(state, put(batch, mesh))
    for name in ("l_att_g", "l_att_d", "l_id_g", "l_rec_f"):
        assert metrics[name][0] == 0.0, name
    assert metrics["l_rec_f"][1] == 0 and metrics["l_adv_g"][0] > 0 and int(new.step) == 1
