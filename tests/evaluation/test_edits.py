"""The edit benchmark from the model to its files, and the averages."""

import json
import types

import numpy as np
import pytest
from PIL import Image

import tfds_megn
from sdgan_jax import config as config_lib
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import edit_report, edit_rows, edits
from tests.evaluation import edit_networks

NAMES = edit_networks.NAMES


@pytest.fixture(scope="module")
def model():
    made = edit_networks.make_model()
    layers = np.ones((made.config.num_layers, 12), np.float32)
    made.invert = lambda images, worn: layers * images[:, :4, 0, :1]
    return made


def read(dataset, split, data_dir):
    assert (dataset, split) == ("rendered_32", "test")
    people = np.arange(1, 14, dtype=np.int32)
    params = np.stack([tfds_megn.sample_params(person, 0) for person in people])
    return rendered.Faces(np.zeros((13, 32, 32, 3), np.uint8), people % 2, people, params)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    monkeypatch.setattr(edit_rows, "wear", edit_networks.wear_module)
    monkeypatch.setattr(edits.pretrained, "position_network", lambda path: edit_networks.Position())
    monkeypatch.setattr(edits.pretrained, "perceptual_network", lambda *paths: edit_networks.Perceptual())
    monkeypatch.setattr(edits.pretrained, "attribute_classifier", lambda path: edit_networks.Classifier())
    monkeypatch.setattr(edits.rendered, "read", read)


def test_rendered_persons(model, tmp_path):
    results = edits.evaluate_edits(model, tmp_path, tmp_path / "out", num_persons=12)
    assert json.loads((tmp_path / "out" / "edits.json").read_text()) == {"made_by": "sdgan-jax evaluate"} | results
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(edit_report.files(NAMES))
    assert results["seeds"] == 3 and results["faces"] == {"mask": 4, "beard": 4, "no mask": 4, "no beard": 4}
    tables = results["tables"]
    assert list(tables) == ["overall", "adding", "removing", "mask", "beard", "no mask", "no beard"]
    assert list(tables["mask"]) == ["source", "inversion", "wear", "basis", "sdgan", edit_rows.UNBLENDED, "true"]
    assert "wear" not in tables["removing"] and "wear" not in tables["overall"] and "wear" in tables["adding"]
    for rows in tables.values():
        assert rows["true"]["l1"]["mean"] == 0 and rows["true"]["of_ceiling"]["mean"] == 1
        assert rows["source"]["l1_outside"]["mean"] == 0 and rows["source"]["id_source"]["mean"] == pytest.approx(1)
        assert rows["source"]["monotone"]["mean"] is None and rows["sdgan"]["monotone"]["mean"] is not None
    for name in ("mask", "no beard"):  # the source is as like itself as can be, the true edit less so
        source, true = tables[name]["source"]["of_ceiling"]["values"], tables[name]["true"]["id_source"]["values"]
        np.testing.assert_allclose(source, 1 / np.array(true), rtol=1e-5)
        assert min(true) < 0.99
    faces = read("rendered_32", "test", None)
    plain, worn = (tfds_megn.render(faces.params[:12], name, 8).astype(float) for name in ("none", "beard"))
    by_seed = np.abs(plain - worn).reshape(3, -1).mean(1) / 127.5
    source = tables["beard"]["source"]["l1"]
    np.testing.assert_allclose(source["values"], by_seed, rtol=1e-5)
    assert source["mean"] == pytest.approx(by_seed.mean()) and source["std"] == pytest.approx(by_seed.std(ddof=1))
    assert tables["no beard"]["source"]["l1"]["values"] == pytest.approx(source["values"])
    assert tables["adding"]["source"]["l1"]["mean"] == pytest.approx(
        (source["mean"] + tables["mask"]["source"]["l1"]["mean"]) / 2
    )


def test_labelled_photos(model, tmp_path):
    for label, level in (("none", 30), ("mask", 160)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(np.full((16, 16, 3), level + index, np.uint8)).save(
                tmp_path / "photos" / label / f"{index}.png"
            )
    results = edits.evaluate_edits(model, tmp_path, tmp_path / "out", photos=tmp_path / "photos")
    rows = results["tables"]["mask"]
    assert results["seeds"] == 1 and "true" not in rows
    assert rows["sdgan"]["l1"]["mean"] is None and rows["sdgan"]["accuracy"]["mean"] is not None
    assert results["tables"]["beard"]["sdgan"]["frechet"]["mean"] is None  # no photo of a beard
    text = (tmp_path / "out" / "edits.txt").read_text()
    assert "l1_inside" not in text and "id_source" in text
    assert {"edits.png", "edits_mask.png", "edits_beard.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_model_that_cannot_be_measured_is_refused(tmp_path):
    for names, message in [
        (("none",), "the model has none; there is no edit to measure"),
        (("none", "mask", "hat"), "does not know hat; it knows none, mask"),
    ]:
        stub = types.SimpleNamespace(config=config_lib.Config(attributes=names))
        with pytest.raises(ValueError, match=message):
            edits.evaluate_edits(stub, tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["edits.json", "edits.txt", "edits.png", "edits_beard.png"])
def test_a_file_of_the_user_is_refused_before_anything_is_read(tmp_path, name):
    (tmp_path / name).write_text("mine")
    stub = types.SimpleNamespace(config=config_lib.Config())
    with pytest.raises(FileExistsError, match=f"{name} exists and was not written by sdgan-jax evaluate"):
        edits.evaluate_edits(stub, tmp_path, tmp_path)


def test_what_is_unknown_in_a_case_is_unknown_in_the_mean():
    measured = [
        {"mask": {"a": {"iou": 1.0 + seed}}, "no mask": {"a": {"iou": None if seed else 3.0}}} for seed in range(2)
    ]
    tables = edits.summarise(measured)["tables"]
    assert tables["mask"]["a"]["iou"] == {"mean": 1.5, "std": pytest.approx(0.5**0.5), "values": [1.0, 2.0]}
    assert tables["overall"]["a"]["iou"] == {"mean": None, "std": None, "values": [2.0, None]}
