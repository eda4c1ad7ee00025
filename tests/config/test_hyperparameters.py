"""Hyperparameters that a state holds, so that other values need no other program."""

import dataclasses

from sdgan_jax import config as c
from sdgan_jax.config import hyperparameters


def test_rates_weights_and_decays_that_are_not_0():
    config = c.Config(losses=c.LossConfig(r1=0.5, edit_attribute=1), adam_g=c.AdamConfig(0.002, 0.0, 0.99))
    found = hyperparameters.read(config)
    assert (found["losses.r1"], found["losses.edit_attribute"]) == (0.5, 1)  # the latter is a whole number
    assert found["adam_g.learning_rate"] == 0.002
    assert found["staged.edit_losses.pixels"] == 1.0
    assert found["ema_kimg"] == 10.0
    assert not {"adam_g.beta1", "losses.path_length", "losses.r1_every", "losses.attribute_kind"} & found.keys()


def test_values_that_are_replaced():
    config = c.Config()
    changed = hyperparameters.replace(config, {"staged.edit_losses.pixels": 3.0, "w_avg_beta": 0.5})
    assert (changed.staged.edit_losses.pixels, changed.w_avg_beta) == (3.0, 0.5)
    assert (config.staged.edit_losses.pixels, config.w_avg_beta) == (1.0, 0.995)
    assert dataclasses.replace(changed, w_avg_beta=0.995, staged=config.staged) == config
