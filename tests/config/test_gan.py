import dataclasses

import pytest

from sdgan_jax import config as config_lib


# L = 2 log2(resolution) - 2 (StyleGAN2): 14 at 256, 18 at 1024.
@pytest.mark.parametrize(("resolution", "layers"), [(8, 4), (32, 8), (256, 14), (1024, 18)])
def test_number_of_synthesis_layers(resolution, layers):
    assert config_lib.Config(resolution=resolution).num_layers == layers


def test_the_defaults_are_those_of_the_pseudo_code():
    """The pseudo-code: batch 16, latent 512, five attributes and none, lr 2e-4, betas 0.5 and 0.999."""
    config = config_lib.validate(config_lib.Config())
    assert (config.batch_size, config.generator.latent_dim, config.num_attributes) == (16, 512, 6)
    for adam in (config.adam_g, config.adam_d, config.adam_f):
        assert (adam.learning_rate, adam.beta1, adam.beta2) == (2e-4, 0.5, 0.999)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 48}, "config.resolution is 48; it must be a power of two from 8 to 1024"),
        ({"resolution": 2048}, "config.resolution is 2048"),
        ({"resolution": 4}, "config.resolution is 4"),
        ({"resolution": 64}, "'megn/rendered_256' but config.resolution is 64; .*--config.resolution=256"),
        ({"dataset": "megn/rendered_64_n2000"}, "but config.resolution is 256; .*--config.resolution=64"),
        ({"dataset": "megn/photos_128:1.1.0"}, "but config.resolution is 256; .*--config.resolution=128"),
        ({"batch_size": 0}, "config.batch_size is 0; it must be at least 1"),
        ({"checkpoint_every": -1}, "config.checkpoint_every is -1"),
        ({"latent_space": "s"}, "config.latent_space is 's'; it must be one of"),
        ({"attributes": ("none", "mask", "mask")}, "config.attributes is .*; name each attribute once"),
        ({"fusion": config_lib.FusionConfig(kernel=3.0)}, "config.fusion.kernel is 3.0; it must be one of"),
        ({"fusion": config_lib.FusionConfig(kernel=True)}, "config.fusion.kernel is True; it must be one of"),
        ({"source": "photo"}, "config.source is 'photo'; it must be one of"),
        ({"attributes": ("mask", "none")}, "the first must be 'none'"),
        ({"accumulate": 0}, "config.accumulate is 0; it must be at least 1"),
        ({"fusion_every": -1}, "config.fusion_every is -1; it must be at least 0"),
        (
            {"generator": config_lib.GeneratorConfig(style="adin")},
            "config.generator.style is 'adin'; it must be one of",
        ),
        ({"generator": config_lib.GeneratorConfig(channels=(8, 8))}, "names 2 resolutions; 256 pixels have 7, from 4"),
        ({"losses": config_lib.LossConfig(r1=-1.0)}, "config.losses.r1 is -1.0; it must be at least 0"),
        ({"losses": config_lib.LossConfig(r1=float("nan"))}, "config.losses.r1 is nan; it must be at least 0"),
        ({"losses": config_lib.LossConfig(path_length_decay=5.0)}, "is 5.0; it must be at least 0 and at most 1"),
        ({"seed": -1}, "config.seed is -1; it must be at least 0 and at most 4294967295"),
        ({"seed": 2**32}, "config.seed is 4294967296"),
        ({"style_mixing": 2.0}, "config.style_mixing is 2.0; it must be at least 0 and at most 1"),
        ({"keep_checkpoints": -1}, "config.keep_checkpoints is -1; it must be at least 1"),
        ({"data_workers": -1}, "config.data_workers is -1"),
        ({"batch_size": 16.0}, "config.batch_size is 16.0; it must be a whole number"),
        ({"ema_kimg": "10"}, "config.ema_kimg is '10'; it must be a number"),
        ({"attributes": ["none"]}, "it must be a list such as"),
        ({"manual_dir": "a\0b"}, "it must be a path"),
        ({"augment": config_lib.AugmentConfig(kimg=0.0)}, "config.augment.kimg is 0.0; it must be above 0"),
        ({"adam_g": config_lib.AdamConfig(learning_rate=-1.0)}, "config.adam_g.learning_rate is -1.0"),
        ({"adam_g": config_lib.AdamConfig(beta1=1.0)}, "is 1.0; it must be at least 0 and below 1"),
        ({"generator": config_lib.GeneratorConfig(latent_dim=0)}, "config.generator.latent_dim is 0"),
        ({"generator": config_lib.GeneratorConfig(channel_max=0)}, "config.generator.channel_max is 0"),
        ({"generator": config_lib.GeneratorConfig(channels=(8, 0, 8, 8, 8, 8, 8))}, "config.generator.channels is 0"),
        ({"generator": config_lib.GeneratorConfig(channel_base=128)}, "channel_base is 128; it must be at least 256"),
        ({"discriminator": config_lib.DiscriminatorConfig(mbstd_group=0)}, "config.discriminator.mbstd_group is 0"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(ValueError, match=message) as raised:
        config_lib.validate(config_lib.Config(**fields))
    assert "\n" not in str(raised.value)


def test_metrics_of_checkpoints_need_a_stage_that_trains_g():
    config = config_lib.Config(recipe="staged", latent_space="w", metrics=("classifier_fid2k",))
    assert config_lib.validate(config) is config
    encoder_alone = dataclasses.replace(config, staged=dataclasses.replace(config.staged, stages=("encoder",)))
    with pytest.raises(ValueError, match="train no generator; leave it out"):
        config_lib.validate(encoder_alone)


def test_numbers_in_the_names_of_other_data_sets_are_no_resolution():
    assert config_lib.validate(config_lib.Config(dataset="faces_2020", resolution=64)).dataset == "faces_2020"


def test_auto_follows_the_published_rules():
    """StyleGAN2-ADA's `auto`: gamma = 0.0002 res²/batch, EMA batch · 10 / 32 kimg, lr 0.002 at 1024."""
    small, large = config_lib.validate(config_lib.auto(256, 64)), config_lib.validate(config_lib.auto(1024, 32))
    assert small.losses.r1 == pytest.approx(0.2048) and large.losses.r1 == pytest.approx(6.5536)
    assert (small.ema_kimg, large.ema_kimg) == (20.0, 10.0)
    assert (small.adam_g.learning_rate, large.adam_d.learning_rate) == (0.0025, 0.002)
    assert (small.generator.channel_base, large.discriminator.channel_base) == (16384, 32768)
    assert small.generator.mapping_layers == 2 and small.ema_rampup == 0.05
    assert (small.dataset, large.dataset) == ("megn/rendered_256", "megn/photos_1024")


def test_a_plain_stylegan2_learns_no_f():
    assert config_lib.Config().intervals == {"f": 1, "r1": 0, "path_length": 0}
    assert config_lib.Config(fusion_every=0).intervals["f"] == 0
    assert config_lib.Config(attributes=("none",)).intervals["f"] == 0
    assert config_lib.Config(losses=config_lib.LossConfig(r1=1.0)).intervals["r1"] == 16
