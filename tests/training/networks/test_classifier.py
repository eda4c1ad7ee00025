"""The classifier's network, training and store, on synthetic images that take seconds."""

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
from tests.training import tiny

CONFIG = ClassifierConfig(dataset="megn/rendered_32", resolution=32, total_steps=60)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with tiny.quick_compilation():
        yield


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
    """Synthetic faces instead of rendered ones, and two steps of training."""
    monkeypatch.setattr(rendered, "read", make_faces)
    monkeypatch.setattr(ClassifierConfig, "__init__", functools.partialmethod(_short, ClassifierConfig.__init__))


def _short(self, full, **fields):
    full(self, **({"total_steps": 2, "batch_size": 8} | fields))


@pytest.fixture(scope="module")
def trained():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "read", make_faces)
        return classifier_lib.make_classifier(CONFIG, classifier_lib.train_in_memory(CONFIG))


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


def test_the_learning_rate_rises_for_a_fifth_and_falls_by_a_cosine():
    """Read off the weight decay of a parameter whose gradient is 0: the change is -rate * decay * parameter."""
    config = dataclasses.replace(CONFIG, total_steps=10, learning_rate=0.1, weight_decay=0.5)
    optimizer, params = classifier_lib.optimizer(config), {"x": jnp.ones(())}
    state, rates = optimizer.init(params), []
    for _ in range(10):
        change, state = optimizer.update({"x": jnp.zeros(())}, state, params)
        rates.append(float(change["x"]) / -0.5)
    progress = np.arange(10) / 10
    expected = 0.1 * np.minimum(progress / 0.2, 0.5 + 0.5 * np.cos(np.pi * (progress - 0.2) / 0.8))
    np.testing.assert_allclose(rates, expected, atol=1e-6)


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


def test_stored_beside_the_data(tmp_path, no_data, monkeypatch, caplog):
    first = classifier_lib.load_or_train("rendered_32", tmp_path)
    (folder,) = (tmp_path / "megn_classifier").iterdir()
    assert folder.name == "rendered_32-megn1.0.0-v2"
    with monkeypatch.context() as patch:
        patch.setattr(classifier_lib, "train", None)  # the second time does not train
        second = classifier_lib.load_or_train("rendered_32", tmp_path)
    jax.tree.map(np.testing.assert_array_equal, first.variables, second.variables)
    assert (second.resolution, second.held_out_images) == (32, 120)
    faces = make_faces("", "test")
    right = classifier_lib.classify(second, pictures.to_float(faces.images))[0].argmax(axis=1) == faces.labels
    assert second.held_out_accuracy == pytest.approx(right.mean())
    assert pretrained.read(folder, "classifier")[0]["version"] == 2

    (weights,) = folder.glob("weights.*")
    weights.write_bytes(weights.read_bytes()[:-400])  # a damaged file is written again
    third = classifier_lib.load_or_train("rendered_32", tmp_path)
    assert "training it again" in caplog.text
    jax.tree.map(np.testing.assert_array_equal, first.variables, third.variables)
    weights.write_bytes(b"")  # and so when the checkpoints are damaged too
    for file in (folder / "checkpoints").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(b"")
    fourth = classifier_lib.load_or_train("rendered_32", tmp_path)
    jax.tree.map(np.testing.assert_array_equal, first.variables, fourth.variables)
    pretrained.attribute_classifier(folder)


@pytest.mark.slow
def test_an_interrupted_training_goes_on(tmp_path, no_data):
    config = ClassifierConfig(dataset="megn/rendered_32", resolution=32, total_steps=4)
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


def test_a_classifier_that_cannot_be_stored_is_used_and_that_is_said(tmp_path, no_data, monkeypatch, capfd):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("")
    assert classifier_lib.load_or_train("rendered_32", "~/file").held_out_images == 120
    lines = [line for line in capfd.readouterr().err.split("\n") if "not kept" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"the classifier is not kept for the next time: {tmp_path}/file")
    assert "cannot be written (Not a directory); set --config.data_dir" in lines[0]


def test_a_folder_in_use_by_another_training_does_not_end_an_evaluation(tmp_path, no_data, capfd):
    with workdir_lib.Lock(tmp_path / "megn_classifier" / "rendered_32-megn1.0.0-v2"):
        assert classifier_lib.load_or_train("rendered_32", tmp_path).held_out_images == 120
    assert "is not kept for the next time: " in (text := capfd.readouterr().err) and "is in use by another run" in text
