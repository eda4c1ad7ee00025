"""The stages of the recipe `staged`: their configs, what is refused, and a run of all four."""

import dataclasses

import jax.numpy as jnp
import pytest

from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from sdgan_jax.training import checkpoint, workdir
from sdgan_jax.training.gan import recipe, staged, weights
from tests.training import tiny


def settings(**fields):
    steps = c.StagedConfig(encoder_steps=2, fusion_steps=3, basis="means", basis_samples=48, targets=16)
    base = {
        "recipe": "staged",
        "latent_space": "w",
        "staged": steps,
        "total_steps": 4,
        "encoder": c.EncoderConfig(width=8, width_max=8, hidden=8, rank=2),
    }
    return tiny.config(**base | fields)


def test_each_stage_has_its_own_steps(tmp_path):
    config = settings()
    steps = {stage: staged.stage_config(config, stage, "", tmp_path).total_steps for stage in c.STAGES}
    assert steps == {"gan": 4, "encoder": 2, "basis": 4, "fusion": 3}
    of_gan = staged.stage_config(config, "gan", "", tmp_path)
    assert of_gan.fusion_every == 0 and of_gan.staged.stages == ("gan",)
    assert make_networks(of_gan).encoder is None  # a model without a trained E has none


def test_the_length_of_the_basis_is_that_of_the_model_before(tmp_path):
    model = tmp_path / "basis"
    model.mkdir()
    (model / "config.json").write_text(c.to_json(settings(basis_length=5.5)))
    fusion = staged.stage_config(settings(), "fusion", str(model), tmp_path)
    assert fusion.basis_length == 5.5 and fusion.init == str(model)


@pytest.mark.parametrize(
    "fields", [{"attributes": ("none",)}, {"attributes": ("none", "hat")}, {"latent_space": "z", "recipe": "joint"}]
)
@pytest.mark.parametrize("stage", ["gan", "encoder"])
def test_a_model_whose_basis_is_not_taken_leaves_the_length_of_the_config(tmp_path, fields, stage):
    """A plain StyleGAN2 has the default of 1, with which the new attributes would hardly change the image."""
    (tmp_path / "config.json").write_text(c.to_json(settings(**fields)))
    config = settings(basis_length=8.0)
    assert staged.stage_config(config, stage, str(tmp_path), tmp_path / "run").basis_length == 8.0


def test_a_stage_is_not_trained_further_under_a_later_one(tmp_path):
    """The last stage may go on; one before it may not, since the later ones would keep the older model."""
    for stage in ("gan", "encoder"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "config.json").write_text(c.to_json(staged.stage_config(settings(), stage, "", tmp_path)))
    (tmp_path / "config.json").write_text(c.to_json(settings()))
    longer = settings(total_steps=6)
    with pytest.raises(ValueError, match="stage gan would end at step 6, but encoder has started from its .* step 4; "):
        staged.train(make_networks(longer), tmp_path)
    longer = settings(staged=dataclasses.replace(settings().staged, encoder_steps=9))
    staged._check_steps(longer, tmp_path)
    workdir.check_config(tmp_path, longer)
    workdir.check_config(tmp_path / "encoder", staged.stage_config(longer, "encoder", "", tmp_path))


def test_a_first_stage_without_its_model_is_refused(tmp_path):
    config = settings(staged=c.StagedConfig(stages=("basis", "fusion")))
    with pytest.raises(ValueError, match=r"starts with 'basis'.*\(gan, encoder\); set --config.init=DIR"):
        recipe.check(config, tmp_path)
    missing = dataclasses.replace(config, init=str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        recipe.check(missing, tmp_path)


PAIRED = {"basis": "paired", "basis_samples": 48, "targets": 16}


@pytest.fixture(scope="module")
def write_model():
    """Writes a random model without some of its networks into a folder; returns its path."""
    state = tiny.random_state(settings())

    def write(folder, *without):
        weights.write(folder, settings(), {n: getattr(state, n) for n in weights.FIELDS if n not in without})
        return str(folder)

    return write


@pytest.mark.parametrize(
    "without, fields, line",
    [
        ("", {"stages": ("gan", "fusion")}, "'fusion' needs an encoder, which the stage 'gan' leaves out; add 'enc"),
        ("", {"stages": ("gan", "basis"), **PAIRED}, "'paired' .* which the stage 'gan' leaves out; .* estimator"),
        ("", {"stages": ("gan", "basis", "fusion")}, "'fusion' needs an encoder, which the stage 'gan' leaves out"),
        ("params_e", {"stages": ("basis", "fusion")}, "'fusion' needs an encoder, which .*model lacks; add 'enc"),
        ("params_e", {"stages": ("basis",), **PAIRED}, "'paired' .config.staged.basis. needs an encoder, which"),
        ("params_d", {"stages": ("encoder", "fusion")}, "needs a discriminator, which .*model lacks; give another"),
        ("", {"encoder_steps": 0}, "config.staged.encoder_steps is 0"),
        ("", {"stages": ("gan", "encoder", "fusion"), "fusion_steps": 0}, "config.staged.fusion_steps is 0"),
        ("", {"targets": 15}, "config.staged.targets is 15, .* .config.batch_size 16.; set --config.staged.targets=16"),
        ("", {"basis_samples": 3}, "config.staged.basis_samples is 3; the estimators need 12 latents for 2 attr"),
        ("", {"basis": "random", "basis_samples": 7}, "config.staged.basis_samples is 7; the estimators need 8 lat"),
        ("", {"stages": ("gan", "encoder", "basis"), **PAIRED, "targets": 7}, "targets is 7; .* 8 pairs of faces"),
        ("", {"length_samples": 1}, "config.staged.length_samples is 1; compare 2"),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_before_the_first(tmp_path, write_model, without, fields, line):
    config = settings(init=write_model(tmp_path / "model", without))
    config = dataclasses.replace(config, staged=dataclasses.replace(config.staged, **fields))
    with pytest.raises(ValueError, match=line) as raised:
        recipe.check(config, tmp_path / "run")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "without, fields",
    [
        ((), {}),
        ((), {"stages": ("gan",), "basis_samples": 3, "encoder_steps": 0}),
        ((), {"stages": ("basis", "fusion"), **PAIRED}),
        (("params_e",), {"stages": ("encoder", "basis", "fusion"), **PAIRED}),
        (("params_e", "params_f"), {"stages": ("gan", "basis")}),
        (("params_d",), {"stages": ("fusion",), "edit_losses": c.EditLossConfig(attribute=0.0, adversarial=0.0)}),
    ],
)
def test_stages_that_have_all_they_need_are_accepted(tmp_path, write_model, without, fields):
    config = settings(init=write_model(tmp_path / "model", *without))
    recipe.check(dataclasses.replace(config, staged=dataclasses.replace(config.staged, **fields)), tmp_path / "run")


@pytest.mark.parametrize(
    "fields, line",
    [
        (
            {"resolution": 16},
            "does not train the generator of .*; set --config.resolution=8, or add the stages that do",
        ),
        ({"face_crop": "ffhq"}, "; set --config.face_crop=megn, or"),
        ({"generator": {"channel_max": 4}}, "; set --config.generator.channel_max=8, or"),
        ({"generator": {"channels": (8, 4)}}, r"; set --config.generator.channels='\(\)', or"),
        (
            {"generator": {"mapping_layers": 2, "latent_dim": 8}},
            "latent_dim=12 --config.generator.mapping_layers=1, or",
        ),
        ({"generator": {"channel_base": 4096}}, None),
        ({"generator": {"channels": (8, 8)}}, None),
        ({"generator": {"remat": True, "conv_clamp": 256.0}}, None),
        ({"discriminator": {"channel_max": 4}}, None),
        ({"encoder": {"hidden": 4}}, None),
    ],
)
def test_a_generator_that_no_stage_trains_fits_the_config(tmp_path, write_model, fields, line):
    """Its channels are min(64 / resolution, 8): 8 at 4 and at 8 pixels."""
    stages = dataclasses.replace(settings().staged, stages=("encoder",))
    config = settings(init=write_model(tmp_path / "model"), staged=stages)
    for name, value in fields.items():
        part = getattr(config, name)
        setattr(config, name, dataclasses.replace(part, **value) if isinstance(value, dict) else value)
    if line is None:
        recipe.check(config, tmp_path / "run")
        return
    with pytest.raises(ValueError, match=line) as raised:
        recipe.check(config, tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_other_networks_that_no_stage_trains_fit_the_config(tmp_path, write_model):
    stages = dataclasses.replace(settings().staged, stages=("fusion",))
    config = settings(init=write_model(tmp_path / "model"), staged=stages)
    config.discriminator = dataclasses.replace(config.discriminator, channel_max=4)
    config.encoder = dataclasses.replace(config.encoder, hidden=4)
    line = (
        "generator, discriminator, encoder .*; set --config.discriminator.channel_max=8 --config.encoder.hidden=8, or"
    )
    with pytest.raises(ValueError, match=line):
        recipe.check(config, tmp_path / "run")


def test_attributes_that_a_plain_model_has_not_learned_need_another_basis_and_no_loss(tmp_path):
    plain = settings(attributes=("none",))
    state = tiny.random_state(plain)
    weights.write(tmp_path / "model", plain, {name: getattr(state, name) for name in weights.FIELDS})
    stages = dataclasses.replace(settings().staged, stages=("encoder", "basis", "fusion"), basis="random")
    config = settings(init=str(tmp_path / "model"), staged=stages)
    line = "; set --config.staged.basis=paired --config.staged.edit_losses.attribute=0, or add"
    with pytest.raises(ValueError, match=line):
        recipe.check(config, tmp_path / "run")
    edit = dataclasses.replace(stages.edit_losses, attribute=0.0)
    recipe.check(
        dataclasses.replace(config, staged=dataclasses.replace(stages, basis="means", edit_losses=edit)), tmp_path
    )


def test_a_network_that_only_the_last_stage_reads_is_looked_for_before_the_first(tmp_path):
    config = settings(fusion=c.FusionConfig(position_network=str(tmp_path / "nothing")))
    with pytest.raises(FileNotFoundError, match="nothing"):
        recipe.check(config, tmp_path / "run")


@pytest.mark.parametrize("stages", [("gan", "encoder", "fusion"), ("gan", "basis")])
def test_attributes_that_a_later_stage_does_not_know_are_refused(tmp_path, stages):
    config = settings(attributes=("none", "hat"))
    config = dataclasses.replace(config, staged=dataclasses.replace(config.staged, stages=stages))
    with pytest.raises(
        ValueError, match="config.attributes.*, eyeglasses|hat .config.attributes.; it knows none, mask"
    ):
        recipe.check(config, tmp_path)


def test_the_networks_of_a_checkpoint_count(tmp_path):
    class Position:
        position, skipped, dataset = 0, (), "faces"

    state = {"ema_g": {"x": jnp.zeros(2)}, "params_d": {"x": jnp.zeros(2)}, "params_e": {}, "basis": jnp.zeros(2)}
    with checkpoint.Checkpoints(tmp_path / "model", settings()) as checkpoints:
        checkpoints.save(3, state, Position())
    for path in (tmp_path / "model", tmp_path / "model" / "checkpoints" / "3"):
        assert weights.held_fields(path) == {"ema_g", "params_d", "basis"}


def test_a_config_without_attributes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs attributes"):
        recipe.check(settings(attributes=("none",)), tmp_path)


def test_stages_in_another_order_are_refused():
    for stages in (("fusion", "basis"), ("gan", "gan"), ("gan", "mapping"), ()):
        with pytest.raises(ValueError, match="config.staged.stages is .* in this order"):
            settings(staged=c.StagedConfig(stages=stages))
    with pytest.raises(ValueError, match="--config.latent_space=w"):
        settings(latent_space="z")
