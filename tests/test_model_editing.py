"""The model that people use, on random weights: inversion, tuning, the encoder, and edits."""

import gc
import types
import weakref

import jax.numpy as jnp
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax import blending, losses
from sdgan_jax import config as c
from sdgan_jax import model as model_lib
from tests.models import DIM, IMAGES, LAYERS, LENGTH, NAMES, W_SPACE, Z_SPACE, N, Z, close, make
from tests.training import tiny


@pytest.fixture(scope="module")
def model():
    return make(W_SPACE)


def test_inversion_and_edit(model):
    """Faces that the model drew itself are found again; an edit adds basis and offset to the latent found."""
    faces = model.generate(Z[:2], truncation=0.5)
    average = model.synthesize(np.repeat(model.params["w_avg"][None], 2, 0))
    latent = model.invert(faces)
    found = np.asarray(losses.pyramid(model.synthesize(latent), faces, np.square))
    assert latent.shape == (2, LAYERS, DIM)
    assert (found < 0.1 * np.asarray(losses.pyramid(average, faces, np.square))).all()
    close(model.edit(faces, "mask", strength=0.0), faces)
    move = LENGTH * np.asarray(model.params["basis"][1]) + np.asarray(model.offset(faces, "mask"))
    edited = model.synthesize(np.asarray(latent) + 0.5 * move)
    close(model.edit(faces, "mask", strength=0.5), blending.blend(faces, model.synthesize(latent), edited, False))


def test_a_model_that_is_gone_leaves_no_networks_behind(with_encoder):
    model = make(STAGED, with_encoder._distance_to)
    kept = weakref.ref(model.nets)
    latent = model.invert(IMAGES[:1], steps=1)
    model.tune(latent, IMAGES[:1], steps=1).edit(IMAGES[:1], "mask")
    del model
    gc.collect()
    assert kept() is None


STAGED = tiny.config(
    recipe="staged",
    latent_space="w",
    basis_length=LENGTH,
    encoder=c.EncoderConfig(width=4, width_max=4, hidden=8, rank=2),
    fusion=c.FusionConfig(width=8, width_max=8, blocks=1, kernel=3, removal=True),
)


@pytest.fixture(scope="module")
def with_encoder():
    with pytest.MonkeyPatch.context() as patch:
        network = types.SimpleNamespace(
            distance_to=lambda images: lambda others: losses.perceptual(*by_colour(images, others))
        )
        patch.setattr(model_lib.pretrained, "perceptual_network", lambda: network)
        yield make(STAGED)


def by_colour(*images):
    return [(some + 2.0,) for some in images]


@pytest.mark.parametrize(
    ("asked", "worn"),
    [
        ({"attribute": "mask"}, {1: 1}),
        ({"remove": "beard"}, {2: -1}),
        ({"attribute": "beard", "remove": ["mask"]}, {1: -1, 2: 1}),
    ],
)
def test_edits_with_an_encoder(with_encoder, asked, worn):
    """The latent is of E, which knows what is taken off; attributes add up; without a blend, G draws the result."""
    latent = np.asarray(with_encoder.encode(IMAGES, worn=asked.get("remove")))
    offset = sum(
        np.asarray(with_encoder.offset(IMAGES, NAMES[k]) if sign > 0 else with_encoder.offset(IMAGES, remove=NAMES[k]))
        for k, sign in worn.items()
    )
    move = LENGTH * sum(sign * np.asarray(with_encoder.params["basis"][k]) for k, sign in worn.items()) + offset
    drawn = with_encoder.synthesize(latent + 0.7 * move)
    made = with_encoder.draw_edit(latent, IMAGES, **asked, strength=0.7)
    close(made.edited, drawn)
    close(made.plain, with_encoder.synthesize(latent))
    close(with_encoder.edit(IMAGES, **asked, strength=0.7), blending.lay_over(IMAGES, *made))
    if len(worn) == 1:
        close(made.region, blending.edited_region(made.plain, drawn, "remove" in asked))


def test_each_of_several_attributes_marks_its_own_region(with_encoder):
    latent = with_encoder.encode(IMAGES, worn="mask")
    both = with_encoder.draw_edit(latent, IMAGES, "beard", remove="mask")
    regions = [
        blending.edited_region(both.plain, both.edited, True),
        with_encoder.draw_edit(latent, IMAGES, "beard").region,
        with_encoder.draw_edit(latent, IMAGES, remove="mask").region,
    ]
    close(both.region, np.max(regions, 0))


@pytest.mark.parametrize(
    ("asked", "removes"),
    [({"attribute": "mask"}, False), ({"remove": "mask"}, True), ({"attribute": "beard", "remove": "mask"}, True)],
)
def test_removals_are_blended_as_such(with_encoder, asked, removes, monkeypatch):
    """The blend of a removal takes weaker changes, see `blending.edited_region`."""
    told = []

    def edited_region(plain, edited, removes):
        told.append(bool(removes.all()))
        return jnp.zeros(plain.shape[:3])

    monkeypatch.setattr(blending, "edited_region", edited_region)
    with_encoder.edit(IMAGES, **asked)
    assert told[0] == removes and told[1:] == ([True, False] if len(asked) > 1 else [])


def test_the_offset_of_a_removal(model, with_encoder):
    """Negated without maps of its own, else another one."""
    close(model.offset(IMAGES, remove="mask"), -np.asarray(model.offset(IMAGES, "mask")))
    on, off = (np.asarray(with_encoder.offset(IMAGES, **ask)) for ask in ({"attribute": "mask"}, {"remove": "mask"}))
    assert np.abs(off + on).max() > 0.1 * np.abs(on).max()


def test_edits_that_cannot_be_are_refused_before_the_search(with_encoder, monkeypatch):
    monkeypatch.setattr(with_encoder, "encode", lambda images, worn: 1 / 0)
    with pytest.raises(ValueError, match="'mask' cannot be added and removed at once"):
        with_encoder.edit(IMAGES, "mask", remove="mask")
    with pytest.raises(ValueError, match="unknown attribute 'hat'"):
        with_encoder.edit(IMAGES, remove="hat")
    with pytest.raises(ValueError, match="strength is inf; it must be a finite number"):
        with_encoder.edit(IMAGES, "mask", strength=np.inf)


def test_editing_in_z():
    model = make(Z_SPACE)
    faces = model.generate(Z[:1])
    z = np.asarray(model.invert(faces))
    assert z.shape == (1, DIM)
    basis, offset = np.asarray(model.params["basis"][2]), np.asarray(model.offset(faces, "beard"))
    edited = model.synthesize(model.map(z + 0.5 * (LENGTH * basis + offset)))
    expected = blending.blend(faces, model.synthesize(model.map(z)), edited, False)
    close(model.edit(faces, "beard", strength=0.5), expected)


def test_encode_is_the_average_w_plus_the_encoder(with_encoder):
    model = with_encoder
    difference, _ = model.nets.encoder.apply({"params": model.params["E"]}, IMAGES)
    latent = model.encode(IMAGES)
    assert latent.shape == (N, LAYERS, DIM)
    close(latent, np.asarray(model.params["w_avg"]) + np.asarray(difference))
    close(model.invert(IMAGES, steps=0), latent)
    told, _ = model.nets.encoder.apply({"params": model.params["E"]}, IMAGES, np.float32([[0, 1, 0]] * N))
    worn = model.encode(IMAGES, worn="mask")
    close(worn, np.asarray(model.params["w_avg"]) + np.asarray(told))
    assert np.abs(np.asarray(worn) - latent).max() > 1e-3
    close(model.invert(IMAGES, steps=0, worn=["mask"]), worn)


def test_inversion_with_an_encoder_starts_there_and_comes_nearer(with_encoder):
    model = with_encoder
    encoded, found = (
        np.asarray(losses.pyramid(model.synthesize(latent), IMAGES))
        for latent in (model.encode(IMAGES), model.invert(IMAGES))
    )
    assert (found < 0.9 * encoded).all()


def test_search_and_tuning_take_the_distance_that_the_model_was_given(with_encoder):
    """One that counts the last colour alone, and much, brings that colour nearer."""

    def blue(images):
        return lambda others: 100 * jnp.abs(others - images)[..., 2].mean((1, 2))

    given = make(STAGED, blue)
    errors = {}
    for name, model in {"own": with_encoder, "given": given}.items():
        latent = model.encode(IMAGES)
        drawn = model.synthesize(model.invert(IMAGES, steps=20)), model.tune(latent, IMAGES, 20).synthesize(latent)
        errors[name] = [blue(IMAGES)(np.asarray(images)) for images in drawn]
    assert (np.array(errors["given"]) < np.array(errors["own"])).all()


def test_a_tuned_model_draws_the_face_better_and_leaves_the_model_alone(with_encoder):
    model, face = with_encoder, IMAGES[:1]
    latent = model.encode(face)
    before = np.asarray(model.synthesize(latent))
    tuned = model.tune(latent, face, 30)
    np.testing.assert_array_equal(model.synthesize(latent), before)
    first, second = (losses.pyramid(drawn, face).item() for drawn in (before, np.asarray(tuned.synthesize(latent))))
    assert second < first
    edited = tuned.draw_edit(latent, face, "mask").edited
    move = LENGTH * np.asarray(model.params["basis"][1]) + np.asarray(model.offset(face, "mask"))
    close(edited, tuned.synthesize(latent + move))
    np.testing.assert_array_equal(tuned.map(Z), model.map(Z))


def test_the_encoder_is_saved(with_encoder, tmp_path):
    with_encoder.save(tmp_path)
    loaded = sdgan_jax.load(tmp_path)
    assert set(loaded.params) == {"G", "D", "F", "E", "basis", "w_avg"}
    np.testing.assert_array_equal(loaded.encode(IMAGES), with_encoder.encode(IMAGES))
