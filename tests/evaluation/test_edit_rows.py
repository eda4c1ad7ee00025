"""Rows of the edit benchmark: against `Model.edit_latent`, against the decomposition by hand, and refused variants."""

import numpy as np
import pytest

from sdgan_jax import pictures
from sdgan_jax.evaluation import edit_rows
from sdgan_jax.evaluation.edit_cases import Case
from sdgan_jax.pretrained import archive
from tests.evaluation import edit_networks

N = 3
SOURCES = edit_networks.images(N)


@pytest.fixture(scope="module", autouse=True)
def fast():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edit_rows.pretrained, "position_network", lambda path: edit_networks.Position())
        patch.setattr(edit_rows, "wear", edit_networks.wear_module)
        yield


def with_latents(model):
    """Gives a model known latents instead of minutes of search."""
    shape = (N, 12) if model.config.latent_space == "z" else (N, model.config.num_layers, 12)
    latent = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    model.told = []
    model.invert = lambda images, worn: model.told.append(worn) or latent
    return model, latent


@pytest.fixture(scope="module")
def model():
    return with_latents(edit_networks.make_model())


def case(removes=False, name="mask"):
    return Case(name, removes, SOURCES, None, SOURCES)


def drawn(editors, some, strength=1.0, count=None):
    return {row.name: row.draw(strength, count) for row in editors.rows(some)}


def alike(actual, expected):
    expected = pictures.to_uint8(np.asarray(expected))
    assert np.abs(actual.astype(int) - expected).max() <= 1  # rounding


@pytest.mark.parametrize("space", ["w", "z"])
@pytest.mark.parametrize("removes", [False, True])
def test_sdgan_edits_as_the_model_does(space, removes):
    model, latent = with_latents(edit_networks.make_model(latent_space=space))
    images = pictures.to_float(SOURCES)
    rows = drawn(edit_rows.Editors(model, {}, {}), case(removes), strength=0.5)
    wanted = {"attribute": "none", "remove": "mask"} if removes else {"attribute": "mask"}
    assert model.told == ["mask" if removes else None]
    alike(rows["sdgan"], model.edit_latent(latent, images, strength=0.5, **wanted))
    alike(rows[edit_rows.UNBLENDED], model.draw_edit(latent, images, strength=0.5, **wanted).edited)
    plain = model.synthesize(model.map(latent) if space == "z" else latent)
    alike(rows["inversion"], plain)
    np.testing.assert_array_equal(rows["source"], SOURCES)
    assert ("wear" in rows) == (not removes)


def test_the_basis_moves_all_layers_by_its_own_length(model):
    model, latent = model
    basis = np.random.default_rng(1).standard_normal((3, 12)).astype(np.float32)
    editors = edit_rows.Editors(model, {"svm": basis, "means": 0 * basis}, {})
    found = drawn(editors, case(name="beard"), 1.25)
    assert list(found) == editors.names(False)
    assert list(found) == ["source", "inversion", "wear", "basis:svm", "basis:means", "sdgan", edit_rows.UNBLENDED]
    plain, moved = model.synthesize(latent), model.synthesize(latent + 1.25 * basis[2])
    images = pictures.to_float(SOURCES)
    alike(found["basis:svm"], edit_rows.blending.blend(images, plain, moved, False))
    np.testing.assert_array_equal(found["basis:means"], SOURCES)  # nothing moved, nothing blended
    removed = drawn(editors, case(True, "beard"))
    alike(removed["basis:svm"], edit_rows.blending.blend(images, plain, model.synthesize(latent - basis[2]), True))


def test_strength_zero_gives_the_face_back_and_count_the_first_faces(model):
    found = drawn(edit_rows.Editors(model[0], {}, {}), case(), 0.0, count=2)
    assert all(len(images) == 2 for images in found.values())
    np.testing.assert_array_equal(found["sdgan"], SOURCES[:2])
    np.testing.assert_array_equal(found[edit_rows.UNBLENDED], found["inversion"])


def test_wear_draws_on_the_position_map_that_was_found(model):
    images = pictures.to_float(SOURCES)
    expected = np.clip(images + images.mean((1, 2))[:, None, None], -1, 1)
    alike(drawn(edit_rows.Editors(model[0], {}, {}), case())["wear"], expected)


def test_a_variant_edits_with_its_own_f(model):
    model, latent = model
    variant = edit_networks.make_model()
    variant.params["F"] = {name: tree for name, tree in edit_networks.make_model(seed=5).params["F"].items()}
    editors = edit_rows.Editors(model, {}, {"no_3d": variant})
    found = drawn(editors, case())
    images = pictures.to_float(SOURCES)
    alike(found["no_3d"], variant.edit_latent(latent, images, "mask"))
    assert np.abs(found["no_3d"].astype(int) - found["sdgan"]).max() > 3
    assert editors.names(True) == ["source", "inversion", "basis", "no_3d", "sdgan", edit_rows.UNBLENDED]


def test_half_precision_is_the_same_g_and_other_variants_are_refused(model):
    model, _ = model
    half = edit_networks.make_model()
    half.params = edit_rows.jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), half.params)
    edit_rows.Editors(model, {}, {"half": half})
    without = edit_networks.make_model()
    del without.params["F"]
    fields = {"attributes": ("none", "mask", "eyeglasses")}
    for name, variant, message in [
        ("other", edit_networks.make_model(seed=5), "its G is not that of --model"),
        ("other", edit_networks.make_model(latent_space="z"), "its G is not that of --model"),
        ("other", edit_networks.make_model(**fields), "its attributes are none, mask, eyeglasses, not those of"),
        ("other", without, "it has no F"),
        ("sdgan", half, "the name is taken; give another than source, "),
    ]:
        with pytest.raises(ValueError, match=f"--variants={name}=…: {message}") as raised:
            edit_rows.Editors(model, {}, {name: variant})
        assert "\n" not in str(raised.value)


def test_bases_are_read_beside_a_model(tmp_path):
    assert edit_rows.read_bases(tmp_path, ("none", "mask"), 4) == {}
    rows, lengths = np.eye(2, 4, dtype=np.float32), np.float32([0, 5])
    archive.write(tmp_path / "bases.safetensors", {"means": {"rows": rows, "lengths": lengths}})
    (name, basis), *others = edit_rows.read_bases(tmp_path, ("none", "mask"), 4).items()
    assert name == "means" and not others
    np.testing.assert_array_equal(basis, [[0, 0, 0, 0], [0, 5, 0, 0]])
    for names, dim in [(("none", "mask", "beard"), 4), (("none", "mask"), 8)]:
        with pytest.raises(ValueError, match="means does not fit the model; estimate the bases again"):
            edit_rows.read_bases(tmp_path, names, dim)
