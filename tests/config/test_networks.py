import pytest

from sdgan_jax.config import networks
from sdgan_jax.config.networks import IdentityConfig, PRNetConfig


@pytest.mark.parametrize("kind", [PRNetConfig, IdentityConfig])
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("megn/rendered_64", None),
        ("megn/rendered_64_n600", None),
        ("megn/varied_64_n600", None),
        ("megn/photos_64", "only drawn faces have the truth: megn/rendered_<R>"),
        ("mnist", "only drawn faces have the truth: megn/rendered_<R>"),
        ("megn/rendered_32", "'megn/rendered_32' but config.resolution is 64; set both to the same"),
        ("megn/rendered_128_n600", "'megn/rendered_128_n600' but config.resolution is 64; set both to the same"),
    ],
)
def test_the_data_set_is_of_rendered_faces_of_the_resolution(kind, dataset, message):
    config = kind(dataset=dataset)
    if message is None:
        assert networks.validate(config) is config
        return
    with pytest.raises(ValueError, match=message) as raised:
        networks.validate(config)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": (1, 1)}, r"config.blocks is \(1, 1\) and config.widths \(8, 24, 64, 128\); give both for 1 to 6"),
        ({"blocks": (), "widths": ()}, "give both for 1 to 6 stages"),
        ({"blocks": (1,) * 7, "widths": (8,) * 7}, "give both for 1 to 6 stages"),
        ({"resolution": 48}, "config.resolution is 48; it must be one of 64, 128, 256"),
        ({"learning_rate": -1.0}, "config.learning_rate is -1.0; it must be at least 0"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        networks.validate(IdentityConfig(**fields))


def test_a_run_without_steps_needs_a_network():
    with pytest.raises(ValueError, match="config.total_steps is 0; give the network to fit stages to by config.init"):
        networks.validate(PRNetConfig(total_steps=0))
    networks.validate(PRNetConfig(total_steps=0, init="somewhere"))
