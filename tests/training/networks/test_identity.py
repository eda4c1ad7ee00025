"""Training of the identity network: that it learns, on several devices; pairs, and verification by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax import pretrained
from sdgan_jax.config.networks import IdentityConfig, validate
from sdgan_jax.data import rendered
from sdgan_jax.data.rendered import Faces
from sdgan_jax.training import sharding
from sdgan_jax.training.networks import identity
from tests.training import tiny

CONFIG = IdentityConfig(
    resolution=16, blocks=(1,), widths=(16,), embedding_dim=8, batch_size=8, total_steps=60, learning_rate=0.02
)
STILL = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "colour": 0.0, "occlusion": 0.0}
NET = identity.network(CONFIG)


def make_faces(persons, photos=3):
    """Noise: a person is a pattern, a photograph a little of another; labels go from 0 to 2."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (persons, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    images = np.concatenate([0.7 * patterns + 0.3 * rng.integers(0, 256, patterns.shape) for _ in range(photos)])
    identities = np.tile(10 + np.arange(persons, dtype=np.int32), photos)
    labels = np.repeat(np.arange(photos, dtype=np.int32), persons)
    return Faces(images.astype(np.uint8), labels, identities, np.zeros((len(images), 2), np.float32))


def start(config, devices, persons):
    mesh = sharding.make_mesh(config.batch_size, jax.devices()[:devices])
    init = functools.partial(identity.init, config, NET, persons)
    state = jax.jit(init, out_shardings=sharding.replicated(mesh))()
    return mesh, state, sharding.map_step(functools.partial(identity.step, config, NET), mesh)


def test_it_learns_persons_and_tells_new_ones_apart():
    config = dataclasses.replace(CONFIG, batch_size=24, **STILL)
    known, new = make_faces(24).first(48), make_faces(40)
    classes = np.unique(known.identities, return_inverse=True)[1].astype(np.int32)
    with tiny.quick_compilation():
        mesh, state, step = start(config, 1, 24)
        batches = rendered.Batches({"image": known.images, "person": classes}, 24, 0)
        values = []
        for _ in range(60):
            state, metrics = step(state, sharding.put_rows(next(batches), mesh))
            values.append([float(metrics[name][0]) for name in ("arcface", "cosine")])
        assert int(state.step) == 60
        assert values[-1][0] < 0.5 * values[0][0] and values[-1][1] > values[0][1] + 0.4
        network = jax.jit(functools.partial(NET.apply, jax.device_get(state.variables)))
        pairs = rendered.draw_pairs(new, 60, 2000)
        table = identity.verify(network, new.images, new.images, pairs)
    assert table["as stored"]["accuracy"] > 0.85  # 0.5 by chance


def test_a_step_is_the_mean_over_devices(monkeypatch):
    """Without anything random: prototypes move by the gradient that both halves of the batch have on the mean."""
    monkeypatch.setattr(identity, "_distort", lambda config, key, image, other: image)
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    batch = {"image": np.concatenate([image, image]), "person": np.tile(np.arange(4, dtype=np.int32), 2)}
    results = []
    with tiny.quick_compilation():
        for devices in (1, 2):  # both halves are equal, so that the statistics of a half are those of the whole
            mesh, state, step = start(CONFIG, devices, 4)
            for _ in range(2):  # the rate is 0 in the first
                state, metrics = step(state, sharding.put_rows(batch, mesh))
            results.append(jax.device_get((state.prototypes, state.variables["batch_stats"], metrics)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)


def test_pairs():
    faces = make_faces(7)
    pairs = rendered.draw_pairs(faces, 1000, 300)
    first, second = [faces.identities[rows] for rows in (pairs.first, pairs.second)]
    np.testing.assert_array_equal(first == second, pairs.same)
    assert np.all(faces.labels[pairs.second] > 0) and np.all(pairs.first != pairs.second)
    # Of each of 7 persons two photographs wear something, and each goes with two others.
    assert pairs.same.sum() == 7 * 2 * 2 and (~pairs.same).sum() == 300
    assert len(set(zip(pairs.first[pairs.same], pairs.second[pairs.same], strict=True))) == 28
    assert set(faces.labels[pairs.first]) == {0, 1, 2}
    again = rendered.draw_pairs(faces, 1000, 300)
    np.testing.assert_array_equal(again.second, pairs.second)
    assert rendered.draw_pairs(faces, 5, 300).same.sum() == 5


def test_verification_holds_the_right_pictures_against_each_other():
    """The network reads a person off the first pixel; what is worn hides it, of half the persons."""
    persons, photos = 20, 2
    identities = np.tile(np.arange(persons, dtype=np.int32), photos)
    plain = np.zeros((persons * photos, 16, 16, 3), np.uint8)
    plain[:, 0, 0, 0] = 12 * identities
    stored = plain.copy()
    stored[(identities % 2 == 0) & (np.arange(40) >= persons), 0, 0, 0] = 255
    faces = Faces(stored, np.repeat(np.int32([0, 1]), persons), identities, np.zeros((40, 1), np.float32))
    pairs = rendered.draw_pairs(faces, 20, 1000)

    def network(images):
        number = jnp.round((images[:, 0, 0, 0] + 1) * 127.5 / 12).astype(int)
        return jax.nn.one_hot(number, 22)

    table = identity.verify(network, plain, stored, pairs, far=0.01)
    assert table["neither wears anything"]["accuracy"] == table["neither wears anything"]["tar_at_far"] == 1.0
    one = table["one wears something"]
    assert (one["accuracy"], one["tar_at_far"], one["same"], one["different"]) == (0.75, 0.5, 20, 1000)
    assert table["as stored"]["tar_at_far"] == 0.0  # all who are hidden look the same


def test_bare_faces_are_those_of_the_renderer():
    params = np.stack([tfds_megn.sample_params(identity, 1) for identity in range(2)])
    images = tfds_megn.render(params, "mask", 16)
    faces = Faces(images, np.int32([1, 1]), np.int32([0, 1]), params)
    np.testing.assert_array_equal(rendered.bare(faces), tfds_megn.render(params, "none", 16))


def test_what_is_written_is_read(tmp_path):
    variables = jax.jit(NET.init)(jax.random.key(0, impl="unsafe_rbg"), jnp.zeros((1, 16, 16, 3)))
    pretrained.write(tmp_path, "identity", identity.settings(CONFIG), variables)
    images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3), minval=-1.0)
    found = jax.jit(pretrained.identity_network(tmp_path))(images)
    np.testing.assert_allclose(found, jax.jit(NET.apply)(variables, images), atol=1e-6)


def test_the_sheet_shows_the_nearest():
    faces = make_faces(8)
    network = lambda images: np.asarray(images[:, ::4, ::4].reshape(len(images), -1)) / 10  # noqa: E731
    sheet = identity.nearest_sheet(network, faces)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": (1, 1, 1)}, r"config.blocks is \(1, 1, 1\) and config.widths \(8, 24, 64, 128\)"),
        ({"resolution": 128}, "set both to the same"),
        ({"batch_size": 0}, "config.batch_size is 0"),
    ],
)
def test_configs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        validate(dataclasses.replace(IdentityConfig(), **change))
