"""The stages of the recipe `staged`: their configs, what is refused, and a run of all four."""

import dataclasses

import pytest

from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from sdgan_jax.training import workdir
from sdgan_jax.training.gan import recipe, staged
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


def test_a_config_without_attributes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs attributes"):
        recipe.check(settings(attributes=("none",)), tmp_path)


def test_stages_in_another_order_are_refused():
    for stages in (("fusion", "basis"), ("gan", "gan"), ("gan", "mapping"), ()):
        with pytest.raises(ValueError, match="config.staged.stages is .* in this order"):
            settings(staged=c.StagedConfig(stages=stages))
    with pytest.raises(ValueError, match="--config.latent_space=w"):
        settings(latent_space="z")
