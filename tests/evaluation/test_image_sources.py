"""Sets of images: the same pixels whatever the batches, and what is refused."""

import json
import os

import jax
import numpy as np
import PIL.Image
import pytest

import sdgan_jax
from sdgan_jax import config as config_lib
from sdgan_jax import pictures
from sdgan_jax.data import rendered, stream
from sdgan_jax.evaluation import image_sources
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.data import damage, tiny_sets
from tests.evaluation import small_sets
from tests.training import tiny


def images_of(source, numbers):
    return np.asarray(source.draw(source.params, source.read(np.asarray(numbers))))


def test_a_folder_gives_each_of_its_images_once(tmp_path):
    images = small_sets.pixels(7, side=16)
    folder = small_sets.write_folder(tmp_path / "images", images)
    small_sets.write_folder(folder / "more", images[:2] ^ 1)
    (folder / "notes.txt").write_text("no image")
    source = image_sources.open_folder(folder)
    assert source.available == 9 and source.key["images"] == 9
    found = images_of(source, range(9))
    expected = np.concatenate([images, images[:2] ^ 1]).astype(np.float32)
    assert sorted(map(bytes, found)) == sorted(map(bytes, expected))
    np.testing.assert_array_equal(images_of(source, [8, 3]), found[[8, 3]])
    assert bytes(found) != bytes(expected)  # in a fixed random order: files may be sorted by class


def test_a_changed_folder_has_another_key(tmp_path):
    folder = small_sets.write_folder(tmp_path, small_sets.pixels(2))
    before = image_sources.open_folder(folder).key
    assert image_sources.open_folder(folder).key == before
    PIL.Image.fromarray(small_sets.pixels(1, seed=9)[0]).save(folder / "0002.png")
    assert image_sources.open_folder(folder).key != before


def test_folders_that_cannot_be_measured_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        image_sources.open_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match="there is no image in the folder"):
        image_sources.open_folder(tmp_path)
    small_sets.write_folder(tmp_path, small_sets.pixels(1, side=16))
    PIL.Image.fromarray(small_sets.pixels(1, side=20)[0, 2:]).save(tmp_path / "0001.png")
    with pytest.raises(ValueError, match="0001.png is 20 x 18 pixels, the first image of the folder 16 x 16"):
        image_sources.open_folder(tmp_path).read(np.arange(2))


def test_a_data_set_gives_the_images_of_its_split(tmp_path):
    source = image_sources.open_dataset("megn/rendered_32_n240", "test", 32, str(tmp_path))
    faces = rendered.read("rendered_32_n240", "test", tmp_path)
    assert source.available == len(faces.images) and source.key["dataset"].startswith("megn/rendered_32_n240/")
    found = images_of(source, range(source.available)).astype(np.uint8)
    assert sorted(map(bytes, found)) == sorted(map(bytes, faces.images))
    assert image_sources.open_dataset("megn/rendered_32_n240", "test", 32, str(tmp_path)).key == source.key
    (info,) = tmp_path.glob("megn/*/*/dataset_info.json")
    os.utime(info, (1, 1))  # prepared again
    assert image_sources.open_dataset("megn/rendered_32_n240", "test", 32, str(tmp_path)).key != source.key


def test_a_broken_image_of_a_data_set_is_named_and_replaced(tmp_path, capfd):
    source = image_sources.open_dataset("tiny_faces", "train", 8, str(tmp_path))
    first = images_of(source, range(source.available))[:, 0, 0, 0].tolist()  # red is the number
    fields = {"dataset": "tiny_faces", "data_dir": str(tmp_path), "resolution": 8, "attributes": tiny_sets.NAMES}
    config = config_lib.Config(**fields)
    stored = stream.Examples(config, "train").read(range(source.available))["image"][:, 0, 0, 0].tolist()
    damage.flip_bits(config, [4])
    again = image_sources.open_dataset("tiny_faces", "train", 8, str(tmp_path))
    found = images_of(again, range(again.available))[:, 0, 0, 0].tolist()
    assert found == [stored[5] if n == stored[4] else n for n in first]
    assert "left out, replaced by the next image: tiny_faces, split train, image 4: " in capfd.readouterr().err


@pytest.fixture(scope="module", params=["w", "z"])
def model(request):
    state = tiny.random_state(tiny.config(latent_space=request.param), seed=4)
    return sdgan_jax.Model(
        make_networks(tiny.config(latent_space=request.param)), {n: getattr(state, n) for n in weights.FIELDS}
    )


def test_a_model_draws_the_image_of_a_number(model):
    """Image i depends on seed and i alone, and is what `generate` draws of its latent, noise and attribute."""
    source = image_sources.open_model(model, "tiny", seed=3)
    assert source.available is None
    found = images_of(source, [0, 1, 2, 3])
    np.testing.assert_array_equal(images_of(source, [5, 2])[1], found[2])
    assert (found == np.floor(found)).all() and found.min() >= 0 and found.max() <= 255
    z, noise = image_sources.random_inputs(model, 3, np.arange(4))
    for i, attribute in enumerate(("none", "mask", "beard", "none")):
        attributes = np.eye(3, dtype=np.float32)[[tiny.ATTRIBUTES.index(attribute)]]
        w_plus = model.nets.to_w_plus(model.params["G"], z[i : i + 1], attributes, model.params["basis"])
        image = model.nets.synthesize(model.params["G"], w_plus, noise[i : i + 1])
        difference = pictures.to_uint8(jax.device_get(image))[0].astype(float) - found[i]
        assert np.abs(difference).max() <= 1  # a value at the edge of two bins may be rounded either way
    assert not np.array_equal(images_of(image_sources.open_model(model, "tiny", seed=4), [0])[0], found[0])


def labelled(folder, split):
    fields = {"dataset": "tiny_faces", "data_dir": str(folder), "resolution": 8, "attributes": tiny_sets.NAMES}
    return stream.Examples(config_lib.Config(**fields), split)


def test_a_model_draws_the_attributes_of_its_data(model, tmp_path):
    """The faces 100 to 102 of one split wear nothing, a mask and a beard; of 0 to 10, each fourth wears both."""
    source = image_sources.open_model(model, "tiny", 0, labelled(tmp_path, "validation"))
    np.testing.assert_array_equal(source.read(np.arange(9))["attributes"].sum(0), [3, 3, 3])
    both = image_sources.open_model(model, "tiny", 0, labelled(tmp_path, "train"))
    np.testing.assert_array_equal(both.read(np.arange(tiny_sets.TRAIN))["attributes"].sum(0), [3, 5, 5])
    even = image_sources.open_model(model, "tiny", 0)
    np.testing.assert_array_equal(even.read(np.arange(4))["attributes"].sum(0), [2, 1, 1])


def test_images_with_other_attributes_have_another_key(model, tmp_path):
    """Unfinished statistics are continued by their key: of another split, of part of it, or prepared again."""
    keys = [
        image_sources.open_model(model, "tiny", 0, labelled(tmp_path, split)).key
        for split in ("train", "train", "validation", "train[:5]")
    ]
    assert keys[0] == keys[1]
    (info,) = tmp_path.glob("tiny_faces/*/dataset_info.json")
    os.utime(info, (1, 1))
    keys.append(image_sources.open_model(model, "tiny", 0, labelled(tmp_path, "train")).key)
    keys.append(image_sources.open_model(model, "tiny", 0).key)
    assert len({json.dumps(key) for key in keys[1:]}) == 5
