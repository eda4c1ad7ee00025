"""The inversion benchmark from the model to its files, with a model whose reconstructions are known."""

import json
import types

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sdgan_jax.evaluation import inversions
from tests.evaluation import edit_networks

SIZE = 8


class Model:
    """Its latents w+ are the faces with an error: 0.4 by the encoder, 0.2 by the search; tuning leaves 0.1."""

    def __init__(self, encoder=True, error=None):
        self.config = types.SimpleNamespace(
            resolution=SIZE, latent_space="w", dataset="megn/rendered_32", data_dir="own", manual_dir="photos"
        )
        self.params = {"E": {"weight": 1}} if encoder else {}
        self.error, self.calls = error, []

    def encode(self, images):
        self.calls.append(("encode", len(images)))
        return jnp.asarray(images) + 0.4

    def invert(self, images):
        self.calls.append(("invert", len(images)))
        return jnp.asarray(images) + 0.2

    def tune(self, latent, images, steps):
        np.testing.assert_allclose(latent, images + 0.2, atol=1e-6)
        self.calls.append(("tune", len(images), steps))
        return Model(error=0.1)

    def synthesize(self, latent):
        return latent if self.error is None else latent - 0.2 + self.error


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    monkeypatch.setattr(inversions.pretrained, "perceptual_network", lambda: edit_networks.Perceptual())


@pytest.fixture
def folder(tmp_path):
    """Eleven grey images, wider than high; one file that is no image."""
    (tmp_path / "in").mkdir()
    for k in range(11):
        Image.new("RGB", (24, 16), (100 + k,) * 3).save(tmp_path / "in" / f"{k:02}.png")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path


def test_reconstructions_are_measured(folder):
    model = Model()
    results = inversions.evaluate_inversion(model, folder / "out", num_faces=10, folder=folder / "in")
    assert json.loads((folder / "out" / "inversion.json").read_text()) == {"made_by": "sdgan-jax evaluate"} | results
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(inversions.FILES)
    assert results["faces"] == 10 and results["resolution"] == SIZE
    rows = results["rows"]
    assert list(rows) == ["encoder", "50 steps", "50 steps, 50 of tuning"]
    for row, error in zip(rows.values(), (0.4, 0.2, 0.1), strict=True):
        assert row["psnr"]["mean"] == pytest.approx(20 * np.log10(2 / error), abs=1e-3)
        assert row["psnr"]["std"] == pytest.approx(0, abs=1e-3)
        assert row["seconds"]["mean"] >= 0 and row["seconds"]["std"] is None
    assert rows["50 steps, 50 of tuning"]["seconds"]["mean"] > rows["50 steps"]["seconds"]["mean"]
    assert model.calls == [("encode", 8)] * 2 + [("invert", 8)] * 2 + [("tune", 1, 50)] * 10
    lines = [line.split() for line in (folder / "out" / "inversion.txt").read_text().splitlines()]
    row = next(line for line in lines if line[:1] == ["encoder"])
    assert row[1] == "13.979±0.000" and "±" not in row[-1]
    with Image.open(folder / "out" / "inversion.png") as sheet:
        assert sheet.width == 2 + 4 * 98 and sheet.height > 8 * 96


def test_a_model_without_an_encoder_has_no_row_for_it():
    model = Model(encoder=False)
    faces = edit_networks.images(3)
    rows, drawn = inversions.measure(model, faces, edit_networks.Perceptual(), 7)
    assert list(rows) == list(drawn) == ["300 steps", "300 steps, 7 of tuning"]
    assert model.calls == [("invert", 3)] * 2 + [("tune", 1, 7)] * 3


def test_the_distances_by_hand():
    """Of (1, 2, 2) / 4 and (1, 2, 2) / 4 + 0.2: squared distance of the directions, and their cosine."""
    face = np.full((1, SIZE, SIZE, 3), np.float32([0.25, 0.5, 0.5]))
    a, b = np.array([0.25, 0.5, 0.5]), np.array([0.45, 0.7, 0.7])
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    found = inversions._compare(face, face + np.float32(0.2), edit_networks.Perceptual())
    assert found["identity"] == {"mean": pytest.approx(cosine, abs=1e-5), "std": None}
    assert found["perceptual"]["mean"] == pytest.approx(2 - 2 * cosine, abs=1e-5)


def test_the_faces_are_those_of_the_test_split(tmp_path, monkeypatch):
    faces, asked = edit_networks.images(5), []

    def open_dataset(*arguments):
        asked.append(arguments)
        return types.SimpleNamespace(available=5, read=lambda numbers: {"image": faces[numbers]})

    monkeypatch.setattr(inversions.image_sources, "open_dataset", open_dataset)
    results = inversions.evaluate_inversion(Model(), tmp_path / "out")
    assert asked == [("megn/rendered_32", "test", SIZE, "own", "photos")]
    assert results["faces"] == 5 and results["dataset"] == "megn/rendered_32, test"


def test_compilation_does_not_count(monkeypatch):
    """The clock says 100 s for the first call and 8 s for the second and the third, of two faces each."""
    for count in (6, 2):
        clock, calls = iter(np.cumsum([0, 100, 0, 8, 0, 8.0])), []
        monkeypatch.setattr(inversions.time, "perf_counter", lambda clock=clock: next(clock))
        bar = types.SimpleNamespace(update=lambda calls=calls: calls.append(1))
        found, seconds = inversions._timed(lambda rows: rows + 1, np.arange(count), size=2, bar=bar)
        assert seconds == 4 and found.tolist() == list(range(1, count + 1))
        assert len(calls) == inversions._calls(count, 2) == {6: 3, 2: 2}[count]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere", FileNotFoundError, "nowhere: there is no such folder"),
        ("empty", ValueError, "empty: there is no image in the folder"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path, name, error, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        inversions.evaluate_inversion(Model(), tmp_path / "out", folder=tmp_path / name)
    assert not (tmp_path / "out").exists()


def test_a_file_of_the_user_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "inversion.json").write_text("mine")
    with pytest.raises(FileExistsError, match="inversion.json exists and was not written by sdgan-jax evaluate"):
        inversions.evaluate_inversion(Model(), tmp_path)
