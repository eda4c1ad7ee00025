"""Requests of visitors, without a page: with a model that turns faces red, and painted faces."""

import copy
import gc
import io
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image, ImageCms

from sdgan_jax.demo import generation
from sdgan_jax.demo.changes import Look
from sdgan_jax.demo.limits import Limits
from sdgan_jax.demo.studio import STEPS, Studio, default_looks
from sdgan_jax.demo.worker import Worker
from sdgan_jax.photos.editing import Edit
from tests.demo.test_opened_photo import encode
from tests.face3d.test_finding import painted
from tests.photos.test_editing import Model
from tests.photos.test_wearing import FINDER

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PHOTO = encode(painted(240, 300, 150, 120, 150), icc_profile=PROFILE)


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(generation, "Generator", lambda model: None)
    monkeypatch.setattr("sdgan_jax.demo.studio.Generator", lambda model: None)

    def make(encoder=False, attributes=None):
        model = Model(encoder=encoder)
        if attributes is not None:
            model.config.attributes = attributes
        return Studio(model, FINDER, Limits(megabytes=1, megapixels=2, seconds=20))

    return make


def test_a_result_has_the_size_and_the_profile_of_its_photo(make):
    studio = make()
    token = studio.open(PHOTO, "me.jpg")
    name, data = studio.download(studio.edit(token, ["1"], Edit(["mask"], [], 1.0, studio.steps)))
    assert name == "me_mask.png" and studio.model.steps == [STEPS]
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (300, 240) and image.format == "PNG" and image.info["icc_profile"] == PROFILE
        assert image.info["Software"] == "sdgan-jax demo"
        changed = (np.asarray(image) != painted(240, 300, 150, 120, 150)).any(-1)
    assert changed.any() and not changed.all()


def test_latents_come_from_the_encoder_where_there_is_one(make):
    studio = make(encoder=True)
    studio.edit(studio.open(PHOTO, "me.jpg"), ["1"], Edit([], ["beard"], 1.0, studio.steps))
    assert studio.model.steps == ["encoder"]


def test_the_shelf_counts_all_that_a_result_keeps_in_memory(make):
    """All arrays and bytes that the result leads to, as the garbage collector sees them."""
    studio = make()
    token = studio.open(PHOTO, "me.jpg")
    for change in (lambda: studio.edit(token, ["1"], Edit(["mask"])), lambda: studio.dress(token, ["1"], {})):
        made = change()
        kept, reached = 0, [studio.shelf.get(made)]
        while reached:
            value = reached.pop()
            kept += value.nbytes if isinstance(value, np.ndarray) else len(value) if isinstance(value, bytes) else 0
            reached += [] if isinstance(value, type) else gc.get_referents(value)
        assert studio.shelf._kept[made].size == kept == 240 * 300 * 3 + len(PROFILE)


def test_visitors_do_not_see_each_others_photos(make):
    studio = make()
    first, second = studio.open(PHOTO, "first.jpg"), studio.open(PHOTO, "second.jpg")
    assert first != second
    studio.shelf.drop(first)
    with pytest.raises(ValueError, match="the photo is no longer kept here; upload it again"):
        studio.edit(first, ["1"], Edit(["mask"]))
    assert studio.shelf.get(studio.search(second)).name == "second.jpg"
    with pytest.raises(ValueError, match="no longer kept"):
        studio.search(second)  # the search has put another in its place


def test_a_model_without_attributes_says_why_it_edits_nothing(make):
    studio = make(attributes=("none",))
    assert studio.attributes == () and "plain StyleGAN2 without attributes" in studio.explain_missing()
    with pytest.raises(ValueError, match="plain StyleGAN2 without attributes"):
        studio.edit(studio.open(PHOTO, "me.jpg"), ["1"], Edit(["mask"]))
    assert make().explain_missing() is None


def test_a_texture_is_read_with_its_transparency_or_refused(make):
    studio, image = make(), np.zeros((30, 40, 4), np.uint8)
    image[:, :20] = (200, 10, 20, 128)
    np.testing.assert_array_equal(studio.read_texture(encode(image), "a.png"), image)
    for data, line in (
        (b"no picture", "a.png: not an image"),
        (bytes(2**20 + 1), r"a.png: enormous file \(more than 1 MiB\)"),
        (encode(np.zeros((1500, 1500), np.uint8)), "a.png: enormous image"),
    ):
        with pytest.raises(ValueError, match=line):
            studio.read_texture(data, "a.png")


def test_the_usual_look_is_the_first_of_its_kinds():
    assert default_looks("mask") == {"mask": Look("surgical")}
    with pytest.raises(ValueError, match="unknown attribute 'hat'"):
        default_looks("hat")


def test_an_example_is_drawn_once(make, monkeypatch):
    studio, drawn = make(), []
    draw = types.SimpleNamespace(draw=lambda name, model: drawn.append(name) or painted(240, 300, 150, 120, 150))
    monkeypatch.setattr("sdgan_jax.demo.studio.examples", draw)
    first, second = studio.open_example("group"), studio.open_example("group")
    assert drawn == ["group"] and first != second and len(studio.shelf.get(first).faces) == 1


def test_what_is_being_compiled_is_waited_for_and_nothing_else(make):
    studio, begun, compiled, done = make(), threading.Event(), threading.Event(), []

    def compile_slowly(end):
        begun.set()
        assert compiled.wait(10)
        done.append("compiled")

    background = copy.copy(studio)  # as in `warming`
    background.worker = Worker()
    threads = [
        threading.Thread(target=background.run, args=(compile_slowly, "search")),
        threading.Thread(target=studio.run, args=(lambda end: done.append("answered"), "search")),
    ]
    threads[0].start()
    assert begun.wait(10)
    assert studio.run(lambda end: "at once", "edit") == "at once"
    threads[1].start()
    time.sleep(0.05)
    assert done == []
    compiled.set()
    for thread in threads:
        thread.join(10)
    assert done == ["compiled", "answered"]
