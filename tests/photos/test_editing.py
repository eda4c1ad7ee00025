"""Editing photos, with a model that turns a face red."""

import csv
import types

import numpy as np
import pytest
from etils import epath
from PIL import Image

from sdgan_jax.data import photo_files
from sdgan_jax.photos import editing


class Model:
    """Its latents are the faces; it counts those that it inverts, and fails when `allowed` of them are reached.

    A mask is red: it sets the first colour to 1. A beard that is taken off sets the last one to -1.
    """

    def __init__(self, allowed=1000, weight=1.0, encoder=False):
        self.config = types.SimpleNamespace(resolution=32, attributes=("none", "mask", "beard"))
        self.params, self.allowed, self.batches = {"G": {"weight": np.float32(weight)}}, allowed, []
        self.params |= {"E": {"weight": np.float32(0)}} if encoder else {}
        self.steps = []

    def invert(self, faces, steps="usual"):
        self.batches.append(len(faces))
        self.steps.append(steps)
        if sum(self.batches) > self.allowed:
            raise KeyboardInterrupt
        return faces

    def encode(self, faces):
        self.steps.append("encoder")
        return faces

    def edit_latent(self, latent, faces, attribute, strength=1.0, remove=(), blend=True):
        if attribute == "none":
            assert not blend
            return latent
        if remove == ["beard"]:
            latent = latent * np.float32([1, 1, 0]) - np.float32([0, 0, 1])
        if not attribute:
            return latent
        return latent * np.array([1 - strength, 1, 1], np.float32) + np.array([strength, 0, 0], np.float32)


@pytest.fixture
def folder(tmp_path):
    """Forty photos of another shape than the model's, one broken."""
    (tmp_path / "in").mkdir()
    for k in range(39):
        Image.new("RGB", (60, 50), (0, 5 * k, 90)).save(tmp_path / "in" / f"{k:02}.png")
    (tmp_path / "in" / "00a.png").write_bytes(b"no image")
    return epath.Path(tmp_path)


def edit(folder, model, attributes=("mask",), remove=(), strength=1.0, steps=None):
    out = folder / "out"
    wanted = editing.Edit(attributes, remove, strength, steps)
    return editing.edit_photos(model, photo_files.find(folder / "in", out), out, wanted)


def rows(folder):
    return list(csv.DictReader((folder / "out" / "manifest.csv").open()))


def test_photos_are_edited_in_full_batches(folder):
    model = Model()
    assert edit(folder, model).startswith(f"39 images in {folder}/out; no image of 1 photo, see manifest.csv; ")
    assert model.batches == [16, 16, 7]
    for k in (0, 17, 38):
        image = np.asarray(Image.open(folder / "out" / f"{k:02}.png"))
        assert image.shape == (32, 32, 3) and (image == (255, 5 * k, 90)).all()
    assert len(rows(folder)) == 40 and "not an image" in rows(folder)[1]["note"]
    assert (rows(folder)[0]["out"], rows(folder)[0]["attribute"], rows(folder)[0]["strength"]) == (
        "00.png",
        "mask",
        "1.0",
    )
    with Image.open(folder / "out" / "sheet.png") as sheet:
        assert sheet.height < 13 * 100  # 24 photos, two in a row


@pytest.mark.parametrize(
    ("attributes", "colour", "column", "label"),
    [((), (0, 5, 0), "", "no beard"), (("mask",), (255, 5, 0), "mask", "mask+no beard")],
)
def test_attributes_are_taken_off(folder, attributes, colour, column, label):
    edit(folder, Model(), attributes, ("beard",))
    assert editing.Edit(attributes, ("beard",)).label == label
    assert (np.asarray(Image.open(folder / "out" / "01.png")) == colour).all()
    row = next(row for row in rows(folder) if row["out"] == "01.png")
    assert (row["attribute"], row["remove"], row["strength"]) == (column, "beard", "1.0")


@pytest.mark.parametrize(
    ("encoder", "steps", "expected"),
    [(False, None, "usual"), (False, 7, 7), (True, None, "encoder"), (True, 7, 7), (True, 0, 0)],
)
def test_latents_are_found_by_encoder_or_optimisation(folder, encoder, steps, expected):
    model = Model(encoder=encoder)
    edit(folder, model, steps=steps)
    assert set(model.steps) == {expected}


def test_no_steps_need_an_encoder(folder):
    with pytest.raises(ValueError, match="--steps=0: this model has no encoder"):
        edit(folder, Model(), steps=0)


def test_a_stopped_call_goes_on_where_it_was(folder):
    with pytest.raises(KeyboardInterrupt, match="17 of 40 photos done; the same command goes on there"):
        edit(folder, Model(allowed=16))  # sixteen, and the broken one
    assert len(rows(folder)) == 17 and (folder / "out" / "sheet.png").exists()
    model = Model()
    assert "23 images" in edit(folder, model) and sum(model.batches) == 23
    assert len(rows(folder)) == 40
    model = Model()
    edit(folder, model)
    assert not model.batches


@pytest.mark.parametrize(
    "other", [{"strength": 0.5}, {"attributes": ("beard",)}, {"remove": ("beard",)}, {"steps": 3}, {"weight": 2.0}]
)
def test_another_edit_or_model_makes_all_anew(folder, other):
    edit(folder, Model())
    model = Model(weight=other.pop("weight", 1.0))
    edit(folder, model, **other)
    assert sum(model.batches) == 39


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (("hat",), "unknown attribute 'hat'; the known ones are none, mask, beard"),
        ((), "no attribute is given; set --attribute or --remove to some of mask, beard"),
    ],
)
def test_attributes_are_checked_before_the_photos_are_read(folder, attributes, message):
    model = Model()
    with pytest.raises(ValueError, match=message):
        edit(folder, model, attributes)
    assert not model.batches and not (folder / "out").exists()


def test_a_file_of_the_user_is_refused_before_the_photos_are_read(folder):
    (folder / "out").mkdir()
    (folder / "out" / "07.png").write_bytes(b"mine")
    model = Model()
    with pytest.raises(FileExistsError, match="07.png exists and was not written by sdgan-jax edit"):
        edit(folder, model)
    assert not model.batches and (folder / "out" / "07.png").read_bytes() == b"mine"
