"""The stage `basis` on a tiny model, judged by the colours of the faces."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special

import sdgan_jax
from sdgan_jax import config as c
from sdgan_jax.networks import make_networks
from sdgan_jax.pretrained import archive
from sdgan_jax.training.gan import basis, targets, weights
from tests.training import tiny

COUNT = 400
FACES = targets.Dressed(
    *np.random.default_rng(1).integers(0, 256, (2, 12, 8, 8, 3), dtype=np.uint8), np.arange(12) % 2 + 1, None, None
)


class ByColour:
    """A classifier: a face is a mask by red, has a beard by green, or is something else by blue.

    Colours count as deviations from the mean colour f32[3] of the faces, in standard deviations.
    """

    held_out_accuracy, held_out_images = 0.5, 10

    def __init__(self, faces):
        self.colours = faces.mean((1, 2))

    def __call__(self, images):
        deviations = (images.mean((1, 2)) - self.colours.mean(0)) / self.colours.std(0)
        red, green, blue = jnp.moveaxis(3 * deviations, -1, 0)
        zeros = jnp.zeros_like(red)
        return jnp.stack((zeros, red, blue, zeros - 9, green, zeros - 9), 1), deviations


def staged(**fields):
    return tiny.config(latent_space="w", recipe="staged", basis_length=2.0, **fields)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model directory with a random G, D and E, but no F."""
    folder, config = tmp_path_factory.mktemp("model"), staged()
    state = tiny.random_state(config)
    names = [name for name in weights.FIELDS if name != "params_f"]
    weights.write(folder, config, {name: getattr(state, name) for name in names})
    return folder


@pytest.fixture(scope="module")
def classifier(model):
    z = np.random.default_rng(5).standard_normal((200, 12))
    attributes = np.arange(200) % 3
    return ByColour(np.asarray(sdgan_jax.load(model).generate(z, attributes)).clip(-1, 1))


@pytest.fixture
def judged(monkeypatch, classifier):
    """Replaces the classifier, and the pairs of faces; lists the numbers of them that are asked for."""
    asked = []
    monkeypatch.setattr(basis.pretrained, "attribute_classifier", lambda: classifier)
    monkeypatch.setattr(targets, "dress_faces", lambda nets, trees, count, split: asked.append(count) or FACES)
    return asked


def settings(model, **fields):
    chosen = {name: fields.pop(name) for name in ("basis", "basis_samples", "length_samples") if name in fields}
    stage = c.StagedConfig(**{"basis": "means", "basis_samples": COUNT} | chosen)
    return c.validate(dataclasses.replace(staged(init=str(model), staged=stage), **fields))


def test_samples_are_latents_of_g_and_what_the_classifier_sees(model, classifier):
    config = settings(model)
    nets = make_networks(config)
    state = weights.start_from(tiny.random_state(config, 9), config, model)[0]
    probe = basis.make_probe(nets, state, classifier)
    found = basis.sample(nets, state, probe, config.attributes)
    assert found.w.shape == (COUNT, 12)
    loaded = sdgan_jax.load(model)
    logits = np.asarray(classifier(jnp.clip(loaded.synthesize(found.w), -1, 1))[0])
    expected = np.select([logits.argmax(1) == k for k in (0, 1, 4)], [0, 1, 2], -1)
    assert (found.labels == expected).mean() > 0.99 and set(expected) == {-1, 0, 1, 2}
    others = [scipy.special.logsumexp(np.delete(logits, column, 1), axis=1) for column in (0, 1, 4)]
    np.testing.assert_allclose(found.scores, logits[:, [0, 1, 4]] - np.stack(others, 1), atol=1e-2)
    # A third of the latents are moved by each row of the model's basis: differences of its means show it.
    unmoved = basis.sample(nets, state, probe, ("none",)).w
    moves = found.w - unmoved
    np.testing.assert_allclose(moves, 2.0 * np.asarray(state.basis)[np.arange(COUNT) % 3], atol=1e-4)


def noise_samples():
    rng = np.random.default_rng(2)
    return basis.Samples(rng.standard_normal((40, 12)), rng.standard_normal((40, 3)), np.arange(40) % 3)


def test_log_odds_stay_finite():
    logits = np.float32([[0.0, 1.0, -1.0], [200.0, 0.0, 0.0]])
    odds = basis.log_odds(logits)
    p = scipy.special.softmax(np.float64(logits[0]))
    np.testing.assert_allclose(odds[0], np.log(p / (1 - p)), rtol=1e-5)
    np.testing.assert_allclose(odds[1], [200 - np.log(2), -200, -200], rtol=1e-5)


def test_the_stage_writes_a_model_with_the_basis_and_is_done_once(model, judged, tmp_path, capfd):
    config = settings(model)
    state = basis.train(make_networks(config), tmp_path / "out")
    assert judged == [COUNT]
    assert "Starting from" in capfd.readouterr().out
    found = archive.unflatten(archive.read(tmp_path / "out" / "bases.safetensors"))
    assert set(found) == set(c.ESTIMATORS)
    report = json.loads((tmp_path / "out" / "basis.json").read_text())
    sheets = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert sheets == sorted(f"traversal_{name}.png" for name in c.ESTIMATORS)
    assert "Entanglement of paired" in (tmp_path / "out" / "basis.txt").read_text()

    written = sdgan_jax.load(tmp_path / "out")
    original = sdgan_jax.load(model)
    length = found["means"]["lengths"][1:].mean()
    directions = found["means"]["rows"] * found["means"]["lengths"][:, None]
    np.testing.assert_allclose(length * np.asarray(written.params["basis"]), directions, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(state.basis, written.params["basis"])
    np.testing.assert_allclose(original.params["basis"], found["random"]["rows"], rtol=1e-5, atol=1e-6)
    assert written.config.basis_length == pytest.approx(length, rel=1e-6) == report["basis_length"]
    assert dataclasses.replace(written.config, basis_length=2.0) == config
    assert set(written.params) == set(original.params)  # no F that nobody trained
    for name in ("G", "D", "E"):
        for (key, a), (_, b) in zip(
            tiny.named_leaves(written.params[name]), tiny.named_leaves(original.params[name]), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=key)

    again = basis.train(make_networks(config), tmp_path / "out")
    assert len(judged) == 1
    for (key, a), (_, b) in zip(tiny.named_leaves(again), tiny.named_leaves(state), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=key)
    with pytest.raises(ValueError, match="staged.basis was 'means' and is 'svm'"):
        basis.train(make_networks(settings(model, basis="svm")), tmp_path / "out")


def test_lengths_are_those_of_real_faces(model, judged, classifier, tmp_path):
    """No other length of a row gives faces whose features are nearer to the true ones."""
    count = 6
    config = settings(model, basis="random", length_samples=count)
    basis.train(make_networks(config), tmp_path / "out")
    assert judged == [COUNT]  # the pairs are made once for `paired` and the lengths
    written, before = sdgan_jax.load(tmp_path / "out"), sdgan_jax.load(model)
    moves = written.config.basis_length * np.asarray(written.params["basis"])
    z = jax.random.normal(jax.random.fold_in(jax.random.key(config.seed), 78), (count, 12))
    w = np.asarray(before.map(z))

    def distance(attribute, length):
        move = length * np.asarray(before.params["basis"])[attribute]
        seen = np.asarray(classifier(np.clip(before.synthesize(w + move), -1, 1))[1], np.float64)
        true = np.asarray(classifier(FACES.worn[FACES.attributes == attribute] / 127.5 - 1)[1], np.float64)
        root = scipy.linalg.sqrtm(np.cov(seen.T) @ np.cov(true.T)).real
        return np.square(seen.mean(0) - true.mean(0)).sum() + np.trace(np.cov(seen.T) + np.cov(true.T) - 2 * root)

    for attribute in (1, 2):
        length = np.linalg.norm(moves[attribute])
        cosine = moves[attribute] @ np.asarray(before.params["basis"])[attribute] / length
        assert cosine == pytest.approx(1, rel=1e-5)
        tried = [distance(attribute, 2.0 * factor) for factor in np.arange(0.5, 1.55, 0.1)]
        best = 2.0 * np.arange(0.5, 1.55, 0.1)[int(np.argmin(tried))]
        assert abs(length - best) <= 0.1 + 1e-6  # half a step of 0.2


def test_paired_is_the_mean_difference_of_codes(model, judged):
    config = settings(model, basis="paired")
    trees = weights.read(model)[1]
    given = (make_networks(config), tiny.random_state(config, 9), noise_samples(), trees, FACES)
    found = basis.estimate(*given)[0]["paired"]
    loaded = sdgan_jax.load(model)
    plain, worn = (np.asarray(loaded.encode(faces / 127.5 - 1)).mean(1) for faces in FACES[:2])  # over the layers
    for attribute in (1, 2):
        mean = (worn - plain)[FACES.attributes == attribute].mean(0)
        np.testing.assert_allclose(found.lengths[attribute], np.linalg.norm(mean), rtol=1e-3)
        np.testing.assert_allclose(found.rows[attribute], mean / np.linalg.norm(mean), atol=1e-3)
    trees["params_e"] = {}  # as a checkpoint of a model without encoder has it
    assert "paired" not in basis.estimate(*given)[0]


def test_a_plain_model_gets_attributes(tmp_path, monkeypatch):
    plain = dataclasses.replace(staged(), attributes=("none",))
    state = tiny.random_state(plain)
    held = {name: getattr(state, name) for name in weights.FIELDS if name not in ("params_f", "params_e")}
    weights.write(tmp_path / "plain", plain, held)
    z = np.random.default_rng(5).standard_normal((200, 12))
    faces = np.asarray(sdgan_jax.load(tmp_path / "plain").generate(z)).clip(-1, 1)
    monkeypatch.setattr(basis.pretrained, "attribute_classifier", lambda: ByColour(faces))
    config = settings(tmp_path / "plain")
    basis.train(make_networks(config), tmp_path / "out")
    written = sdgan_jax.load(tmp_path / "out")
    assert written.config.attributes == tiny.ATTRIBUTES and written.params["basis"].shape == (3, 12)
    np.testing.assert_allclose(np.linalg.norm(written.params["basis"], axis=1).sum(), 2, rtol=1e-5)
    report = json.loads((tmp_path / "out" / "basis.json").read_text())
    assert "paired" not in report["estimators"]  # without an encoder


def test_what_has_no_basis_is_refused_in_one_line(model, judged, tmp_path):
    held = weights.read(model)[1]
    config = settings(model, basis="paired")
    cases = [
        (config, config, {"params_e": {}}, "has no encoder, which the estimator paired needs"),
        (
            dataclasses.replace(config, attributes=("none", "hat")),
            config,
            held,
            "config.attributes: the attribute classifier does not know hat; it knows none, mask",
        ),
        (dataclasses.replace(config, attributes=("none",)), config, held, "name the attributes"),
        (config, dataclasses.replace(config, latent_space="z"), held, "adds its basis to z"),
        (config, dataclasses.replace(config, generator=c.GeneratorConfig(label_dim=3)), held, "a conditional network"),
    ]
    for ours, source, trees, line in cases:
        with pytest.raises(ValueError, match=line) as raised:
            basis.check(ours, source, trees)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"config.init is empty"):
        basis.train(make_networks(dataclasses.replace(config, init="")), tmp_path / "out")
    with pytest.raises(ValueError, match=r"estimator means has no direction for .*beard.*take more samples"):
        basis.train(make_networks(settings(model, basis_samples=12)), tmp_path / "out")
    (tmp_path / "out" / "basis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="was not written by sdgan-jax basis"):
        basis.train(make_networks(settings(model)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["basis.txt"]
