"""Inputs of a step: random numbers used once, style mixing at its rate, rows dealt to devices group by group."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.latents import Latents
from sdgan_jax.networks import make_networks
from sdgan_jax.training import sharding
from sdgan_jax.training.gan import inputs
from sdgan_jax.training.shards import DATA, FSDP
from tests.training import tiny

CONFIG = tiny.config(style_mixing=0.6, latent_space="w")
LAYERS, ROWS, DEVICES = 4, 500, 4  # of 8 pixels


def on_devices(function):
    """Calls `function` once for each device of the axes `data` and `fsdp`; the results get a leading axis [DEVICES]."""
    mapped = jax.vmap(jax.vmap(lambda _: function(), axis_name=FSDP), axis_name=DATA)
    return jax.tree.map(lambda x: x.reshape(DEVICES, *x.shape[2:]), jax.jit(mapped)(jnp.zeros((DEVICES // 2, 2))))


@pytest.fixture(scope="module")
def drawn():
    return on_devices(lambda: inputs.draw_main(CONFIG, jnp.int32(7), ROWS))


def test_mixing_is_as_frequent_as_asked_and_begins_at_every_layer_but_the_first(drawn):
    crossover = np.ravel(drawn.latents.crossover)
    count = np.bincount(crossover, minlength=LAYERS + 1)
    share = count / crossover.size
    assert count[0] == 0 and len(count) == LAYERS + 1
    # Binomial: five standard deviations of a share of 2,000.
    np.testing.assert_allclose(share, [0, 0.2, 0.2, 0.2, 0.4], atol=5 * np.sqrt(0.4 * 0.6 / crossover.size))


def test_latents_are_standard_normal_and_all_different(drawn):
    both = np.concatenate((drawn.latents.z, drawn.latents.other)).reshape(-1, 12)
    np.testing.assert_allclose(both.mean(), 0.0, atol=5 / np.sqrt(both.size))
    np.testing.assert_allclose(both.std(), 1.0, atol=5 / np.sqrt(2 * both.size))
    assert len(np.unique(both, axis=0)) == len(both)


def test_every_key_is_used_once(drawn):
    path = on_devices(lambda: inputs.draw_path(CONFIG, jnp.int32(7), ROWS))
    keys = [drawn.noise_hat, drawn.noise_rec, drawn.augment_real, drawn.augment_fake, path.noise]
    words = np.concatenate([np.reshape(jax.random.key_data(key), (-1, 2)) for key in keys])
    assert len(np.unique(words, axis=0)) == 5 * DEVICES * ROWS
    later = on_devices(lambda: inputs.draw_main(CONFIG, jnp.int32(8), ROWS))
    assert np.abs(later.latents.z - drawn.latents.z).max(-1).min() > 0
    assert np.abs(path.latents.z - drawn.latents.z).max(-1).min() > 0


def test_without_mixing_the_first_latents_are_the_same(drawn):
    plain = on_devices(lambda: inputs.draw_main(dataclasses.replace(CONFIG, style_mixing=0.0), jnp.int32(7), ROWS))
    assert plain.latents.other is None and plain.latents.crossover is None
    np.testing.assert_array_equal(plain.latents.z, drawn.latents.z)


def test_mixed_layers_are_those_of_the_other_latent():
    state, nets = tiny.random_state(CONFIG), make_networks(CONFIG)
    rng = np.random.default_rng(0)
    z, other = rng.standard_normal((2, 3, 12)).astype(np.float32)
    worn = np.eye(3, dtype=np.float32)
    make = jax.jit(lambda latents: nets.mixed_w_plus({"params": state.params_g}, latents, worn, state.basis))
    first, second = (make(Latents(latent, None, None)) for latent in (z, other))
    mixed = make(Latents(z, other, np.array([1, 3, 4])))
    for sample, crossover in enumerate((1, 3, 4)):
        np.testing.assert_allclose(mixed[sample, :crossover], first[sample, :crossover], rtol=1e-5)
        np.testing.assert_allclose(mixed[sample, crossover:], second[sample, crossover:], rtol=1e-5)


def test_rows_are_dealt_to_devices_and_keep_their_attributes():
    """Row i goes to device i mod 4, so that a device's strided groups are the same samples as on one device."""
    labels = np.arange(16) % 3
    batch = {"image": np.arange(16)[:, None], "attributes": np.eye(3, dtype=np.float32)[labels]}
    placed = inputs.put_batch(batch, sharding.make_mesh(16), group=4)
    order = np.argsort(labels, kind="stable").reshape(4, 4).T.reshape(-1)  # four groups of neighbours, strided
    for name in batch:
        shards = sorted(placed[name].addressable_shards, key=lambda shard: shard.device.id)
        for device, shard in enumerate(shards):
            np.testing.assert_array_equal(shard.data, batch[name][order][device::4])
    groups = labels[order].reshape(4, 4).T  # of 6, 5 and 5 faces: 4 + 2 | 2 + 4 | 1 + ...
    assert groups.tolist() == [[0] * 4, [0, 0, 1, 1], [1, 1, 1, 2], [2] * 4]


def test_devices_without_a_group_are_refused_and_small_groups_are_said():
    """The sizes that StyleGAN2 forms of 1 to 8 samples, at most 4: the largest divisor."""
    for rows, size in {1: 1, 2: 2, 3: 3, 4: 4, 5: 1, 6: 3, 7: 1, 8: 4}.items():
        config = tiny.config(batch_size=2 * rows)
        if size == 1:
            fits = "set --config.batch_size=(8|16), or train without by --config.discriminator.mbstd_group=1"
            with pytest.raises(ValueError, match=f"{rows} on each device, which form no groups of 2 to 4 .*{fits}"):
                inputs.check_groups(config, devices=2)
            alone = dataclasses.replace(config.discriminator, mbstd_group=1)
            assert inputs.check_groups(dataclasses.replace(config, discriminator=alone), devices=2) == ""
        elif size == 4:
            assert inputs.check_groups(config, devices=2) == ""
        else:
            note, fitting = inputs.check_groups(config, devices=2), 16 if rows == 6 else 8
            assert f"the {rows} images of a device form groups of {size} for" in note
            assert f"--config.batch_size={fitting} would" in note


def test_parts_that_would_cut_a_group_are_refused():
    config = tiny.config(accumulate=4)  # 16 faces, groups of 4
    inputs.check_accumulation(config, devices=1)
    with pytest.raises(ValueError, match="config.accumulate is 4, but the 8 images of a device do not split"):
        inputs.check_accumulation(config, devices=2)
