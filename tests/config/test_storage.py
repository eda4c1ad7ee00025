import json

import pytest

from sdgan_jax import config as config_lib


def test_json_keeps_every_field():
    config = config_lib.Config(
        resolution=64, dataset="megn/photos_64", attributes=("none", "mask"), batch_size=3, seed=5
    )
    config.losses.r1 = 1.25
    config.generator.channel_base = 4096
    config.adam_f.beta1 = 0.25
    text = config_lib.to_json(config)
    stored = json.loads(text)
    assert stored["attributes"] == ["none", "mask"] and stored["losses"]["r1"] == 1.25
    assert config_lib.from_values(stored, config_lib.Config) == config


def test_fields_that_are_not_stored_have_their_defaults():
    config = config_lib.from_values({"losses": {"r1": 2}}, config_lib.Config)
    assert config.losses.r1 == 2
    config.losses.r1 = config_lib.LossConfig().r1
    assert config == config_lib.Config()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batchsize": 3}, "config.batchsize is unknown"),
        ({"losses": {"gp": 3}}, "config.losses.gp is unknown"),
        ({"batch_size": 0}, "config.batch_size is 0"),
        ([], r"config is \[\]; it must be a group of fields"),
    ],
)
def test_other_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message) as raised:
        config_lib.from_values(values, config_lib.Config)
    assert "\n" not in str(raised.value)


def test_a_value_of_any_size_gets_a_short_line():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for value, shown in (("x" * 10_000, "'xxx"), (10**5000, "a int that is too large"), (nested, "a list that is too")):
        with pytest.raises(ValueError, match=rf"^config\.seed is {shown}") as raised:
            config_lib.from_values({"seed": value}, config_lib.Config)
        assert len(str(raised.value)) < 300
    with pytest.raises(ValueError, match=r"^config\.x{80} is unknown"):
        config_lib.from_values({"x" * 10_000: 1}, config_lib.Config)
