"""Keys of samples: the same for a sample on any number of devices, and folded in the documented order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.training import draws
from sdgan_jax.training.shards import DATA, FSDP


@pytest.mark.parametrize(("devices", "fsdp"), [(1, 1), (2, 1), (4, 1), (4, 2), (4, 4)])
def test_a_key_is_folded_from_seed_step_phase_and_sample(devices, fsdp):
    def on_device(_):
        return jax.random.key_data(draws.sample_keys(3, jnp.int32(7), 8 // devices, (2, 5)))

    mapped = jax.vmap(jax.vmap(on_device, axis_name=FSDP), axis_name=DATA)
    keys = mapped(jnp.zeros((devices // fsdp, fsdp)))
    keys = keys.reshape(devices, *keys.shape[2:])  # [devices,phases,rows,2]
    base = jax.random.fold_in(jax.random.key(3), 7)
    for sample in range(8):
        for index, phase in enumerate((2, 5)):
            key = jax.random.fold_in(jax.random.fold_in(base, phase), sample)
            ours = keys[sample % devices, index, sample // devices]
            np.testing.assert_array_equal(ours, jax.random.key_data(key))


def test_every_rollback_has_its_own_seed_and_the_first_steps_keep_theirs():
    seeds = [draws.reseed(seed, rollbacks) for seed in (0, 1, 2**32 - 1) for rollbacks in range(20)]
    assert seeds[::20] == [0, 1, 2**32 - 1]
    assert len(set(seeds)) == 60 and all(0 <= seed < 2**32 for seed in seeds)
