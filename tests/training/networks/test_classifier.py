"""The classifier's training, on synthetic images that take seconds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pictures, pretrained
from sdgan_jax.config.networks import ClassifierConfig, validate
from sdgan_jax.data import rendered
from sdgan_jax.training import checkpoint, sharding
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.networks import classifier as classifier_lib

CONFIG = ClassifierConfig(dataset="megn/rendered_32", resolution=32, total_steps=60)


def make_faces(dataset, split, data_dir=None):
    """Noise with a bright bar whose row is the class; one number per image tells the bar's column."""
    del dataset, data_dir
    rng = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[split])
    labels = (np.arange(120) % 6).astype(np.int32)
    columns = rng.integers(0, 20, 120)
    images = rng.integers(0, 120, (120, 32, 32, 3), dtype=np.uint8)
    for image, label, column in zip(images, labels, columns, strict=True):
        image[5 * label + 1 : 5 * label + 4, column : column + 12] = 250
    return rendered.Faces(images, labels, labels, columns[:, None].astype(np.float32))


@pytest.fixture
def no_data(monkeypatch):
    """Synthetic faces instead of rendered ones."""
    monkeypatch.setattr(rendered, "read", make_faces)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "read", make_faces)
        classifier_lib.train(CONFIG, workdir)
    return pretrained.attribute_classifier(workdir)


def test_learns_and_generalises(trained):
    faces = make_faces("", "test")
    logits, features = classifier_lib.classify(trained, pictures.to_float(faces.images))
    assert logits.shape == (120, 6) and features.shape == (120, 128)
    right = np.mean(logits.argmax(axis=1) == faces.labels)
    assert right > 0.9  # 1/6 by chance
    assert (trained.held_out_accuracy, trained.held_out_images) == (pytest.approx(right), 120)
    # The features tell the second task's number within a class, better than by chance.
    design = np.concatenate([features, np.ones((120, 1))], axis=1)
    fit = np.linalg.lstsq(design, faces.params, rcond=1e-2)[0]
    assert np.corrcoef((design @ fit)[:, 0], faces.params[:, 0])[0, 1] > 0.5
    np.testing.assert_allclose(features.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(features).sum(axis=1), 128, rtol=1e-3)


@pytest.mark.parametrize("change", [{"resolution": 64}, {"label_smoothing": 1.5}, {"dataset": "mnist"}])
def test_configs_that_do_not_fit_are_refused(change):
    validate(CONFIG)
    with pytest.raises(ValueError, match="config.(resolution|label_smoothing|dataset) is "):
        validate(dataclasses.replace(CONFIG, **change))


def test_augmentation_is_mild_and_differs_per_image():
    distort = jax.jit(jax.vmap(functools.partial(classifier_lib.distort, CONFIG)))
    keys = jax.random.split(jax.random.key(0), 200)
    means = np.asarray(distort(keys, jnp.full((200, 32, 32, 3), 0.25))).mean(axis=(1, 2, 3))
    assert abs(means.mean() - 0.25) < 0.05 and 0.02 < means.std() < 0.3
    # A single bright pixel stays one blob within a pixel of its place.
    images = np.full((200, 32, 32, 3), -0.8, np.float32)
    images[:, 16, 16] = 0.9
    changed = np.asarray(distort(keys, images)).sum(axis=-1)
    peaks = np.array([np.unravel_index(image.argmax(), image.shape) for image in changed])
    assert np.abs(peaks - 16).max() <= 1 and len(np.unique(peaks, axis=0)) == 9


def test_a_step_is_the_same_on_any_number_of_devices():
    faces, config = make_faces("", "train"), dataclasses.replace(CONFIG, batch_size=8)
    targets = classifier_lib.face_targets(faces.params)
    np.testing.assert_allclose((targets.mean(), targets.std()), (0, 1), atol=1e-5)
    results = []
    for devices in (1, 4):
        mesh = sharding.make_mesh(8, jax.devices()[:devices])
        init = functools.partial(classifier_lib.init, config, 1)
        state = jax.jit(init, out_shardings=sharding.replicated(mesh))()
        step = sharding.map_step(functools.partial(classifier_lib.step, config), mesh)
        # Dealt out like cards, so that a sample has the same keys.
        order = np.arange(8).reshape(-1, devices).T.reshape(-1)
        batch = {"image": faces.images[order], "label": faces.labels[order], "face_targets": targets[order]}
        for _ in range(2):  # the rate is 0 in the first
            state, metrics = step(state, sharding.put_rows(batch, mesh))
        results.append(jax.device_get((metrics, state.variables)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *results)


def test_the_sheet_shows_the_most_certain_of_each_attribute():
    shades = np.arange(20) * 12
    images = np.broadcast_to(shades[:, None, None, None], (20, 96, 96, 3)).astype(np.uint8)

    def classify(images):
        """Attribute k is the more certain the nearer the shade is to 48 k."""
        shade = (images[:, 0, 0, :1] + 1) * 127.5
        return np.log(1e-6 + np.maximum(0, 1 - np.abs(shade - 48.0 * np.arange(6)) / 300)), None

    sheet = classifier_lib.sheet(classify, images)
    middle = sheet[-(6 * 98) + 48 :: 98, -(8 * 98) + 48 :: 98, 0]
    assert middle.shape == (6, 8)
    assert middle[0, 0] == 0 and middle[5, 0] == 228
    assert all(len(set(row)) == 8 for row in middle.tolist())


@pytest.mark.slow
def test_an_interrupted_training_goes_on(tmp_path, no_data):
    config = ClassifierConfig(dataset="megn/rendered_32", resolution=32, batch_size=8, total_steps=4)
    straight = classifier_lib.train(config, tmp_path / "straight")
    classifier_lib.train(dataclasses.replace(config, total_steps=2), tmp_path / "run")
    # What a kill between the second and the fourth step leaves has no network.json.
    (tmp_path / "run" / "network.json").unlink()
    resumed = classifier_lib.train(config, tmp_path / "run")
    assert int(resumed.step) == 4
    for kind, folder in ((straight, "straight"), (resumed, "run")):
        stored = pretrained.attribute_classifier(tmp_path / folder)
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(kind.variables), stored.variables)
    with checkpoint.Checkpoints(tmp_path / "run", workdir_lib.load_config(tmp_path / "run", ClassifierConfig)) as kept:
        assert kept.latest_step == 4
