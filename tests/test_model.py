"""The model that people use, on random weights: shapes, the decomposition by hand, batches, errors, and saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax import model as model_lib
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import storage
from sdgan_jax.training.gan import weights
from tests.models import DIM, IMAGES, LAYERS, LENGTH, SIZE, W_SPACE, Z_SPACE, A, N, Z, close, make
from tests.random_arrays import noise
from tests.training import tiny


@pytest.fixture(scope="module")
def model():
    return make(W_SPACE)


def test_shapes(model):
    assert model.config == W_SPACE
    assert set(model.params) == {"G", "D", "F", "basis", "w_avg"}
    assert model.map(Z).shape == (N, DIM)
    assert model.generate(Z).shape == (N, SIZE, SIZE, 3)
    logits, attribute_logits = model.discriminate(IMAGES)
    assert logits.shape == (N,) and attribute_logits.shape == (N, A)
    assert model.offset(IMAGES, "mask").shape == (N, LAYERS, DIM)


def test_a_saved_model_is_loaded(model, tmp_path):
    model.save(tmp_path / "full")
    model.save(tmp_path / "half", "float16")
    loaded = sdgan_jax.load(tmp_path / "full")
    assert loaded.config == W_SPACE
    for (name, a), (_, b) in zip(tiny.named_leaves(loaded.params), tiny.named_leaves(model.params), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    np.testing.assert_array_equal(loaded.generate(Z, "beard"), model.generate(Z, "beard"))
    basis = np.asarray(model.params["basis"]).astype(np.float16)
    np.testing.assert_array_equal(sdgan_jax.load(tmp_path / "half").params["basis"], basis)


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_path_the_model_of_the_project_is_loaded(model, tmp_path, monkeypatch, path):
    model.save(tmp_path, "float16")
    monkeypatch.setattr(storage, "SHIPPED_MODEL", tmp_path)
    loaded = sdgan_jax.load(path)
    assert loaded.config == W_SPACE
    basis = np.asarray(model.params["basis"]).astype(np.float16)
    np.testing.assert_array_equal(loaded.params["basis"], basis)


def test_an_installation_without_a_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SHIPPED_MODEL", tmp_path / "sdgan64")
    with pytest.raises(FileNotFoundError, match="no model comes with this installation .*; name a model") as raised:
        sdgan_jax.load()
    assert "\n" not in str(raised.value)


def test_the_model_of_the_project_is_small_and_draws_faces():
    """With the classifier that it is measured by, at most 16 MB."""
    if not storage.SHIPPED_MODEL.exists():
        pytest.skip("no model comes with this tree")
    folders = (storage.SHIPPED_MODEL, storage.SHIPPED / "classifier64")
    assert sum(file.stat().length for folder in folders for file in folder.iterdir()) <= 16e6
    shipped = sdgan_jax.load()
    assert shipped.config.resolution == 64 and {"G", "D", "F", "basis"} <= set(shipped.params)
    z = noise(2, shipped.config.generator.latent_dim)
    faces = np.asarray(shipped.generate(z, "mask"))
    assert faces.shape == (2, 64, 64, 3) and np.isfinite(faces).all()
    assert 0.1 < faces.std() < 1.0 and np.abs(faces - np.asarray(shipped.generate(z))).mean() > 0.01


def test_take_replaces_the_weights(model):
    other, state = make(W_SPACE), tiny.random_state(W_SPACE, seed=8)
    other.take({name: getattr(state, name) for name in weights.FIELDS})
    assert np.abs(other.map(Z) - model.map(Z)).max() > 0.1
    np.testing.assert_array_equal(other.params["basis"], state.basis)


@pytest.mark.parametrize(
    ("attribute", "rows"),
    [
        ("none", [[], [], []]),
        ("mask", [[1], [1], [1]]),
        (["mask", "beard"], [[1, 2], [1, 2], [1, 2]]),
        (np.array([2, 0, 1]), [[2], [], [1]]),
    ],
)
@pytest.mark.parametrize(("strength", "truncation"), [(1.0, 1.0), (0.6, 0.5)])
def test_generate_is_the_decomposition(model, attribute, rows, strength, truncation):
    w, w_avg, basis = (np.asarray(x) for x in (model.map(Z), model.params["w_avg"], model.params["basis"]))
    worn = np.stack([sum((basis[i] for i in row), np.zeros(DIM)) for row in rows])
    edited = w_avg + truncation * (w - w_avg) + strength * LENGTH * worn
    images = model.generate(Z, attribute, strength=strength, truncation=truncation)
    close(images, model.synthesize(edited))
    close(images, model.synthesize(np.repeat(edited[:, None], LAYERS, 1).astype(np.float32)))


def test_truncation_cutoff_spares_the_later_layers_and_the_attribute(model):
    w, w_avg, basis = (np.asarray(x) for x in (model.map(Z), model.params["w_avg"], model.params["basis"]))
    w_plus = np.repeat(w[:, None], LAYERS, 1)
    w_plus[:, :3] = w_avg + 0.5 * (w_plus[:, :3] - w_avg)
    images = model.generate(Z, "mask", truncation=0.5, truncation_cutoff=3)
    close(images, model.synthesize(w_plus + LENGTH * basis[1]))


def test_a_model_without_discriminator_and_f_says_so(model, tmp_path):
    state = tiny.random_state(W_SPACE, seed=4)
    names = [name for name in weights.FIELDS if name not in weights.OPTIONAL]
    bare = sdgan_jax.Model(make_networks(W_SPACE), {name: getattr(state, name) for name in names})
    bare.save(tmp_path)
    loaded = sdgan_jax.load(tmp_path)
    assert set(loaded.params) == {"G", "basis", "w_avg"}
    close(loaded.generate(Z, "mask"), model.generate(Z, "mask"))
    with pytest.raises(ValueError, match="this model has no discriminator"):
        loaded.discriminate(IMAGES)
    np.testing.assert_array_equal(loaded.offset(IMAGES, "mask"), np.zeros((N, LAYERS, DIM)))


def test_generate_in_z_moves_before_the_mapping():
    model = make(Z_SPACE)
    w_avg, basis = (np.asarray(model.params[name]) for name in ("w_avg", "basis"))
    w = np.asarray(model.map(Z + 0.6 * LENGTH * basis[1]))
    images = model.generate(Z, "mask", strength=0.6, truncation=0.5)
    close(images, model.synthesize(w_avg + 0.5 * (w - w_avg)))
    assert model.offset(IMAGES, "mask").shape == (N, DIM)


def test_strength_zero_is_the_face_without_the_attribute(model):
    plain = model.generate(Z)
    np.testing.assert_array_equal(model.generate(Z, "mask", strength=0.0), plain)
    assert np.abs(model.generate(Z, "mask") - plain).max() > 0.1


def test_offset(model):
    mask, beard, both = (np.asarray(model.offset(IMAGES, a)) for a in ("mask", "beard", ["mask", "beard"]))
    assert np.abs(mask - beard).max() > 0.1
    close(both, mask + beard)
    close(model.offset(IMAGES, np.array([1, 0, 2])), np.stack((mask[0], np.zeros((LAYERS, DIM)), beard[2])))
    np.testing.assert_array_equal(model.offset(IMAGES, "none"), np.zeros((N, LAYERS, DIM)))


def test_noise(model):
    w = model.map(Z)
    const, none = model.synthesize(w), model.synthesize(w, noise="none")
    one, same, other = (model.synthesize(w, noise=jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(const, model.synthesize(w, noise="const"))
    pictures = [np.asarray(x) for x in (const, none, one, other)]
    for i in range(4):
        for j in range(i):
            assert np.abs(pictures[i] - pictures[j]).max() > 0.1
    twice = model.synthesize(np.stack([w[0], w[0]]), noise=jax.random.key(1))
    assert np.abs(twice[0] - twice[1]).max() > 0.1  # each sample has its own


@pytest.mark.parametrize("count", [2, 16, 18])
def test_a_sample_does_not_depend_on_its_batch(model, count):
    assert model_lib.BATCH == 16
    z = noise(count, DIM, seed=7)
    together = np.asarray(model.generate(z, "mask"))
    assert together.shape == (count, SIZE, SIZE, 3)
    for i in {0, 1, count - 1}:
        close(together[i], model.generate(z[i : i + 1], "mask")[0])


@pytest.mark.parametrize("count", [16, 18])
def test_the_offset_of_a_face_does_not_depend_on_its_batch(model, count):
    """Of the whole step, without the batches of `Model`; the attributes differ, and the last batch is filled up."""
    images, ids = np.tanh(noise(count, SIZE, SIZE, 3, seed=9)), np.arange(count) % A
    whole = model.nets.offset(model.params["F"], images, np.eye(A, dtype=np.float32)[ids], max_attributes=1)
    close(model.offset(images, ids), whole)


def test_no_step_takes_more_faces_than_a_batch(model, monkeypatch):
    """Many faces take no more memory than a batch, and other numbers of them compile nothing anew."""
    seen = []
    monkeypatch.setattr(model, "_offset", lambda params, x, y, **_: seen.append(len(x)) or np.zeros((len(x), 1, DIM)))
    model.offset(np.zeros((40, SIZE, SIZE, 3), np.float32), ["mask", "beard"])
    assert seen == [model_lib.BATCH] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.generate(Z, "hat"), "unknown attribute 'hat'; the known ones are none, mask, beard"),
        (lambda m: m.offset(IMAGES, "hat"), "unknown attribute 'hat'; the known ones are none, mask, beard"),
        (lambda m: m.generate(Z, np.array([1, 2])), r"attribute ids must be int\[3\]"),
        (lambda m: m.generate(Z[:, :5]), r"z must be f32\[N,12\]; got float32\[3, 5\]"),
        (lambda m: m.map(Z[0]), r"z must be f32\[N,12\]; got float32\[12\]"),
        (lambda m: m.synthesize(Z[:, :5]), r"w_plus must be f32\[N,12\] or f32\[N,4,12\]; got float32\[3, 5\]"),
        (lambda m: m.synthesize(noise(2, 5, DIM)), r"w_plus must be .*; got float32\[2, 5, 12\]"),
        (lambda m: m.synthesize(Z[0]), r"w_plus must be .*; got float32\[12\]"),
        (lambda m: m.synthesize(Z[:0]), "nothing to do: N is 0"),
        (lambda m: m.generate(Z, noise="random"), "noise is 'random'; it must be 'const', 'none' or a PRNG key"),
        (lambda m: m.generate(Z, noise=None), "noise is None; it must be 'const', 'none' or a PRNG key"),
        (lambda m: m.synthesize(Z, 0), "noise is 0; it must be"),
        (lambda m: m.synthesize(Z, 3.5), "noise is 3.5; it must be"),
        (lambda m: m.synthesize(Z, [[1], [1, 2]]), r"noise is list\[\]; it must be"),
        (lambda m: m.synthesize(Z, Z), r"noise is ndarray\[3, 12\]; it must be"),
        (lambda m: m.synthesize(Z, jax.random.split(jax.random.key(0), N)), r"noise is .*\[3\]; it must be"),
        (
            lambda m: m.discriminate(IMAGES[:, :4]),
            r"images must be f32\[N,8,8,3\] in \[-1,1\]; got float32\[3, 4, 8, 3\]",
        ),
        (lambda m: m.generate(Z, label=np.zeros(N, int)), "this network knows no classes; leave label out"),
        (lambda m: m.offset(np.zeros((1, 8, 8, 3), np.uint8), "mask"), r"images must be .*; got uint8\[1, 8, 8, 3\]"),
        (lambda m: m.edit((IMAGES + 1) * 127.5, "mask"), r"in \[-1,1\]; got numbers up to 2\d\d.*, in absolute value"),
        (lambda m: m.offset(IMAGES * np.nan, "mask"), "got numbers up to nan"),
        (lambda m: m.discriminate(jnp.full((2, 8, 8, 3), jnp.nan)), "got numbers up to nan"),
        (lambda m: m.discriminate(IMAGES[:0]), "nothing to do: N is 0"),
        (lambda m: m.map(Z[:0]), "nothing to do: N is 0"),
        (lambda m: m.offset([IMAGES[0], IMAGES[1][:4]], "mask"), r"images must be .*; got list"),
        (lambda m: m.offset("photo.jpg", "mask"), r"images must be .*; got <U9\[\]"),
        (lambda m: m.generate(np.full((1, DIM), np.nan)), "z contains NaN or infinities"),
        (lambda m: m.generate(Z, None), "attribute is None; give a name"),
        (lambda m: m.generate(Z, ["mask", "mask"]), "mask, mask: name each attribute once"),
        (lambda m: m.edit_latent(noise(1, LAYERS, DIM), IMAGES, "mask"), "there are 1 latents for 3 images; give one"),
        (lambda m: m.edit_latent(Z, IMAGES, "mask"), r"latent must be f32\[N,4,12\]; got float32\[3, 12\]"),
        (
            lambda m: m.tune(noise(2, LAYERS, DIM), IMAGES, steps=1),
            "there are 2 latents for 3 images; give one for each",
        ),
        (lambda m: m.invert(IMAGES, steps=1.5), "steps is 1.5; it must be an integer, 0 or more"),
        (lambda m: m.generate(Z, truncation_cutoff=1.5), "truncation_cutoff is 1.5; the layers are 0 to 4"),
        (lambda m: m.generate(Z, "mask", strength=float("nan")), "strength is nan; it must be a finite number"),
        (lambda m: m.generate(Z, truncation=float("inf")), "truncation is inf"),
        (lambda m: m.generate(Z, "mask", [1.0, 2.0, 0.5]), r"strength is an array \[3\]; it must be a finite number"),
        (lambda m: m.edit(IMAGES, "mask", None), "strength is None; it must be a finite number"),
        (lambda m: m.edit(IMAGES, "mask", "1"), "strength is '1'; it must be a finite number"),
        (lambda m: m.encode(IMAGES), "this model has no encoder; find latents by `invert`, or train one: the stage"),
        (lambda m: m.invert(IMAGES, steps=-1), "steps is -1; it must be an integer, 0 or more"),
        (
            lambda m: m.tune(m.invert(IMAGES, steps=0), IMAGES, steps=-1),
            "steps is -1; it must be an integer, 0 or more",
        ),
        (
            lambda m: m.generate(Z, truncation=0.5, truncation_cutoff=-3),
            "truncation_cutoff is -3; the layers are 0 to 4",
        ),
    ],
)
def test_errors_are_one_line(model, call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call(model)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["photo.jpg", "config.json", "checkpoints/", ""])
def test_a_model_is_not_saved_over_other_files(model, tmp_path, content):
    """Over a folder of photos, another project's config, a training, and a file."""
    folder = tmp_path / "given"
    if content:
        folder.mkdir()
    place = folder / content
    if content.endswith("/"):
        place.mkdir()
    else:
        place.write_text('{"my": "project"}')
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileExistsError, match="given exists and is no model directory; give a new folder"):
        model.save(folder)
    assert sorted(tmp_path.rglob("*")) == before and (place.is_dir() or place.read_text() == '{"my": "project"}')


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "bfloat16", "complex64", "float64", "foo", np.int8, None])
def test_a_model_is_saved_in_no_type_that_loses_it(model, tmp_path, dtype):
    model.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="^dtype is .*; it must be 'float32' or 'float16'$"):
        model.save(tmp_path, dtype)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_model_is_saved_over_a_model_and_at_home(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    for dtype in ("float32", "float16"):
        model.save("~/mine", dtype)
    assert (tmp_path / "mine" / "weights.safetensors").exists()
    np.testing.assert_allclose(sdgan_jax.load("~/mine").generate(Z), model.generate(Z), atol=0.05)
