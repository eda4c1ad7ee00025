"""Metrics of two sets of images: numpy's numbers on their mean colours, and a generator with known path lengths."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax.evaluation import image_metrics, image_sources, metric_names
from sdgan_jax.evaluation.feature_networks import DistanceNetwork
from sdgan_jax.metrics import density_coverage, frechet, inception_score, kid, precision_recall
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.evaluation import small_sets
from tests.training import tiny

FAKE, REAL = small_sets.pixels(40, seed=1), small_sets.pixels(30, seed=2, low=64)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sdgan_jax" / "statistics"


@pytest.fixture
def folders(tmp_path):
    sets = {"fake": FAKE, "real": REAL}
    return [image_sources.open_folder(small_sets.write_folder(tmp_path / k, images)) for k, images in sets.items()]


def colours(images):
    return 0.5 * images.astype(np.float64).mean((1, 2))


def measure(names, fake, real, **given):
    networks = {"inception": small_sets.mean_colours()}
    return image_metrics.measure(metric_names.parse(names), fake, real, networks, {}, quiet=True, **given)


def test_two_folders(folders):
    results = measure(["fid50k", "kid50k", "pr50k", "dc50k", "is50k"], *folders)
    found = results["metrics"]
    x, y = (colours(images[np.random.default_rng(0).permutation(len(images))]) for images in (FAKE, REAL))
    assert found["fid50k"]["value"] == pytest.approx(frechet.frechet_distance(x, y, ddof=0), rel=1e-5)
    assert found["kid50k"]["value"] == pytest.approx(kid.kernel_distance(x, y)[0], rel=1e-4)
    precision, recall = precision_recall.precision_recall(y, x)
    assert (found["pr50k"]["precision"], found["pr50k"]["recall"]) == pytest.approx((precision, recall))
    density, coverage = density_coverage.density_coverage(y, x)
    assert (found["dc50k"]["density"], found["dc50k"]["coverage"]) == pytest.approx((density, coverage))
    assert 1 < found["is50k"]["value"] < 3
    assert found["fid50k"]["covariance"] == "N" and found["fid50k"]["convention"] == "nvlabs"
    assert {(row["fake"], row.get("real", 30)) for row in found.values()} == {(40, 30)}
    assert results["notes"] == [
        f"{folders[0].name} has 40 images, fewer than fid50k, kid50k, pr50k, dc50k, is50k asks for; all were used",
        f"{folders[1].name} has 30 images, fewer than fid50k, kid50k, pr50k, dc50k asks for; all were used",
        "kid50k: subsets of fewer than 1,000 images, which published KIDs have",
    ]
    assert found["kid50k"]["subset_size"] == 30
    text = image_metrics.table(results)
    assert (
        "pr50k precision" in text and "dc50k coverage" in text and results["notes"][0] in text and " nvlabs\n" in text
    )


def test_one_colour_again_and_again_is_precise_and_covers_little(tmp_path):
    """A ball around each real colour but the outer ones holds it; it holds no more than one of them."""
    colours_of = {"fake": np.full(20, 128) + np.arange(20) % 2, "real": np.linspace(0, 255, 30).round()}
    fake, real = (
        image_sources.open_folder(
            small_sets.write_folder(tmp_path / kind, np.tile(grey[:, None, None, None], (16, 16, 3)).astype(np.uint8))
        )
        for kind, grey in colours_of.items()
    )
    found = measure(["pr50", "dc50"], fake, real)["metrics"]
    assert found["pr50"]["precision"] == 1 and found["pr50"]["recall"] < 0.1
    assert found["dc50"]["density"] > 0.5 and found["dc50"]["coverage"] < 0.3


def test_identical_folders_are_at_no_distance(folders):
    found = measure(["fid20", "fid30", "pr30"], folders[1], folders[1])["metrics"]
    assert found["fid30"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert found["fid20"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert (found["pr30"]["precision"], found["pr30"]["recall"]) == (1.0, 1.0)
    assert found["fid20"]["real"] == 20


@pytest.fixture(scope="module")
def model():
    state = tiny.random_state(tiny.config(latent_space="w"), seed=4)
    yield sdgan_jax.Model(make_networks(tiny.config(latent_space="w")), {n: getattr(state, n) for n in weights.FIELDS})


def test_a_model_leaves_nothing_in_the_cache_and_its_data_stay(model, folders, cache):
    fake = image_sources.open_model(model, "tiny")
    results = measure(["fid64", "is64"], fake, folders[1], model=model)
    drawn = np.asarray(fake.draw(fake.params, fake.read(np.arange(64))))
    expected = frechet.frechet_distance(colours(drawn), colours(REAL), ddof=0)
    assert results["metrics"]["fid64"]["value"] == pytest.approx(expected, rel=1e-3)
    assert inception_score.inception_score(drawn[:, 0, :3, 0] / 64)[0] == pytest.approx(
        results["metrics"]["is64"]["value"], rel=1e-2
    )
    assert results["notes"] == [f"{folders[1].name} has 30 images, fewer than fid64 asks for; all were used"]
    (stored,) = cache.iterdir()
    assert json.loads((stored / "key.json").read_text())["source"] == folders[1].key


def test_results_that_cannot_be_written_leave_the_statistics_of_the_model(model, folders, cache):
    def write(results):
        raise OSError("the disk is full")

    fake = image_sources.open_model(model, "tiny")
    with pytest.raises(OSError, match="the disk is full"):
        measure(["fid64"], fake, folders[1], model=model, write=write)
    assert len(list(cache.iterdir())) == 2
    written = []
    stored = dataclasses.replace(fake, read=None)  # nothing is drawn again
    results = measure(["fid64"], stored, folders[1], model=model, write=written.append)
    assert written == [results] and len(list(cache.iterdir())) == 1


def sum_distance():
    """The squared difference of the sums of the pixels, times a variable of 1."""

    def apply(variables, a, b):
        return variables["one"] * jnp.square((a - b).sum((1, 2, 3)))

    return DistanceNetwork("sum", {"one": jnp.ones(())}, apply)


@pytest.mark.parametrize("name", ["ppl8", "ppl_wfull8", "ppl_zend8", "ppl_zfull8"])
def test_ppl_of_a_model(model, name):
    distance = DistanceNetwork(
        "sum", {"one": jnp.ones(())}, lambda v, a, b: v["one"] * jnp.square((a - b).sum((1, 2, 3)))
    )
    (metric,) = metric_names.parse([name])
    fake = image_sources.open_model(model, "tiny")
    results = image_metrics.measure([metric], fake, None, {}, {"lpips": distance}, model, quiet=True)
    row = results["metrics"][name]
    assert row["value"] > 0 and row["fake"] == 8 and results["real"] is None
    assert (row["space"], row["sampling"]) == (metric.space, metric.sampling)
    assert f"lpips, {metric.space}, {metric.sampling}" in image_metrics.table(results)


def test_ppl_in_w_at_the_end_by_finite_differences(model):
    distance = DistanceNetwork(
        "sum", {"one": jnp.ones(())}, lambda v, a, b: v["one"] * jnp.square((a - b).sum((1, 2, 3)))
    )
    fake = image_sources.open_model(model, "tiny")
    metrics = metric_names.parse(["ppl1"])
    found = image_metrics.measure(metrics, fake, None, {}, {"lpips": distance}, model, quiet=True)["metrics"]["ppl1"]
    ends = [image_sources.random_inputs(model, 0, np.zeros(1, np.int32), phase)[0] for phase in (1, 2)]
    none = np.eye(3, dtype=np.float32)[:1]
    w = [model.nets.to_w_plus(model.params["G"], z, none, model.params["basis"]) for z in ends]
    sums = [np.float64(model.synthesize(w[0] + step * (w[1] - w[0])).sum()) for step in (-5e-3, 5e-3)]
    assert found["value"] == pytest.approx(((sums[1] - sums[0]) / 1e-2) ** 2, rel=0.1)


def test_images_larger_than_256_pixels_are_averaged_down():
    images = np.random.default_rng(0).normal(size=(1, 512, 512, 3))
    found = image_metrics._average_down(jnp.asarray(images))
    assert found.shape == (1, 256, 256, 3)
    np.testing.assert_allclose(found[0, 3, 5], images[0, 6:8, 10:12].mean((0, 1)), rtol=1e-5)
    assert image_metrics._average_down(jnp.zeros((1, 64, 64, 3))).shape == (1, 64, 64, 3)


def test_what_cannot_be_measured_is_refused(folders):
    with pytest.raises(ValueError, match="ppl is a property of a model; give --model"):
        measure(["ppl"], *folders)
    with pytest.raises(ValueError, match="fid2k compares with real images; give --real"):
        measure(["fid2k"], folders[0], None)


@pytest.mark.parametrize(
    ("name", "count", "least"), [("fid50k", 1, 2), ("kid9", 1, 2), ("pr9", 3, 4), ("dc9", 5, 6), ("is10", 9, 10)]
)
def test_sets_that_are_too_small_are_named_before_an_image_is_read(tmp_path, folders, name, count, least):
    small = image_sources.open_folder(small_sets.write_folder(tmp_path / "small", FAKE[:count]))
    enough = dataclasses.replace(folders[0], read=None)
    line = f"small: {name} needs at least {least} images, there are {count}; give a larger set"
    with pytest.raises(ValueError, match=line):
        measure([name], small, enough)
    if name != "is10":
        with pytest.raises(ValueError, match=line):
            measure([name], enough, small)


def test_subsets_of_a_thousand_images_need_no_note(folders, monkeypatch):
    monkeypatch.setattr(kid, "SUBSET_SIZE", 30)
    assert measure(["kid30"], *folders)["notes"] == []
