"""Overfitting of D: a discriminator and a generator whose answers are known."""

import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import config as c
from sdgan_jax.data import stream
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import overfitting, recipe
from tests.training import tiny


class Split:
    """A split of grey images, all of one level."""

    def __init__(self, level, count):
        self.level, self.count = level, count

    def __len__(self):
        return self.count

    def read_whole(self, indices):
        count = len(indices)
        batch = {
            "image": np.full((count, 8, 8, 3), self.level, np.uint8),
            "attributes": np.tile(np.float32([1, 0, 0]), (count, 1)),
        }
        return batch, {}


def use(monkeypatch, **splits):
    """Replaces the data set by these splits."""
    monkeypatch.setattr(stream, "split_names", lambda config: list(splits))
    monkeypatch.setattr(stream, "Examples", lambda config, name: splits[name])


@pytest.mark.parametrize(
    ("train", "validation", "counts"), [(500, 90, (64, 64)), (115, 14, (64, 12)), (7, 4, (4, 4)), (115, 3, None)]
)
def test_whole_groups_are_read(monkeypatch, train, validation, counts):
    use(monkeypatch, train=Split(9, train), validation=Split(5, validation))
    read = overfitting.read_images(tiny.config())
    assert counts == (read and tuple(len(batch["image"]) for batch in read))
    if read:
        assert [batch["image"][0, 0, 0, 0] for batch in read] == [9, 5]


def test_groups_show_one_attribute(monkeypatch):
    """Eight images of alternating attributes: samples i and i + 2 form a group of four each, as D takes them."""
    split = Split(9, 8)
    rows = np.eye(3, dtype=np.float32)[[1, 2] * 4]
    batch = {"image": np.zeros((8, 8, 8, 3)), "attributes": rows}
    monkeypatch.setattr(split, "read_whole", lambda indices: (batch, {}))
    use(monkeypatch, train=split, validation=split)
    order = overfitting.read_images(tiny.config())[0]["attributes"].argmax(1)
    assert [sorted(order[k::2]) for k in range(2)] == [[1] * 4, [2] * 4]


def test_nothing_is_read_without_held_out_images(monkeypatch):
    use(monkeypatch, train=Split(9, 100), test=Split(5, 100))
    assert overfitting.read_images(tiny.config()) is None


def test_the_share_is_that_of_the_paper(monkeypatch):
    """D answers with the mean colour, of G's images with that of their small version, as one with `multi_scale` may.

    G draws black, and grey in small: train 0.5, held out 0.25, generated -1 and -0.5, in the mean -0.75: r_v = 0.2.
    """
    nets = types.SimpleNamespace(
        config=tiny.config(),
        to_w_plus=lambda variables, z, attributes, basis: attributes,
        synthesize_scales=lambda variables, w_plus, noise: [
            jnp.full((len(w_plus), 4, 4, 3), -0.5),
            jnp.full((len(w_plus), 8, 8, 3), -1.0),
        ],
        discriminate=lambda params, images, attributes: (
            jnp.stack([scale.mean((1, 2, 3)) for scale in (images if isinstance(images, list) else [images])]).mean(0),
            None,
        ),
    )
    images = tuple({"image": np.full((4, 8, 8, 3), level, np.float32)} for level in (0.5, 0.25))
    monkeypatch.setattr(overfitting.pictures, "to_float", lambda images: images)
    for batch in images:
        batch["attributes"] = np.tile(np.float32([0, 1, 0]), (4, 1))
    found = overfitting.make_watch(nets, images)(tiny.random_state(tiny.config()))
    assert found == pytest.approx({"d_train": 0.5, "d_validation": 0.25, "d_generated": -0.75, "r_v": 0.25 / 1.25})


@pytest.mark.parametrize(
    ("index", "count", "levels"), [(0, 1, "0120120120120120"), (0, 2, "01201201"), (1, 2, "20120120")]
)
def test_held_out_images_fill_a_batch(monkeypatch, index, count, levels):
    """Three images are repeated over the 16 rows of a batch, whatever the number of processes that share it."""
    split = Split(0, 3)
    monkeypatch.setattr(split, "read_whole", lambda indices: (list(indices), {}))
    use(monkeypatch, train=split, validation=split)
    follows = tiny.config(augment=c.AugmentConfig("bgc", follows="r_v"))
    assert overfitting.read_held_out(follows, index, count) == [int(level) for level in levels]


@pytest.mark.parametrize(("pipeline", "follows"), [("none", "r_v"), ("bgc", "r_t")])
def test_no_held_out_images_are_read_where_p_does_not_follow_them(monkeypatch, pipeline, follows):
    use(monkeypatch, train=Split(0, 3), validation=Split(0, 3))
    config = tiny.config(augment=c.AugmentConfig(pipeline, follows=follows))
    assert overfitting.read_held_out(config, 0, 1) is None


def test_p_cannot_follow_images_that_are_not_there(monkeypatch):
    use(monkeypatch, train=Split(0, 3), test=Split(0, 3))
    config = tiny.config(augment=c.AugmentConfig("bgc", follows="r_v"))
    with pytest.raises(ValueError, match="tiny_run_faces has no validation split; set --config.augment.follows=r_t"):
        overfitting.read_held_out(config, 0, 1)


@pytest.mark.parametrize("target", [0.1, 0.3])
def test_the_excess_changes_sign_at_the_target(target):
    """Training images at 2, generated ones at -3: held-out ones at 2 - 5 r have the measure r."""
    for r_v in (0.05, 0.2, 0.5):
        found = overfitting.excess(2.0, 2.0 - 5.0 * r_v, -3.0, target)
        assert found == pytest.approx(5.0 * (r_v - target))


@pytest.mark.parametrize(
    ("count", "kimg", "pipeline", "hinted"),
    [(112, 500.0, "bgc", "--config.augment.kimg=6 instead of 500 "), (112, 500.0, "none", None),
     (112, 8.0, "bgc", None), (8000, 500.0, "bgc", None), (4, 20.0, "bgc", "kimg=1 instead of 20 ")],
)  # fmt: skip
def test_few_images_want_a_faster_augmentation(monkeypatch, count, kimg, pipeline, hinted):
    use(monkeypatch, train=Split(9, count))
    line = overfitting.describe_adaptation(tiny.config(augment=c.AugmentConfig(pipeline, kimg=kimg)))
    assert (line is None) == (hinted is None)
    if hinted:
        assert hinted in line and line.startswith(f"hint: the {count} training images of tiny_run_faces ")


@pytest.mark.slow
def test_a_training_writes_the_numbers(tmp_path, monkeypatch):
    """The held-out images are the training images, so that D cannot tell them apart."""
    config = tiny.config(
        data_dir=str(tmp_path / "data"), total_steps=2, log_every=1, sample_every=1, checkpoint_every=2
    )
    train = stream.Examples(config, "train")
    monkeypatch.setattr(stream, "split_names", lambda config: ["train", "validation"])
    monkeypatch.setattr(stream, "Examples", lambda config, name: train)
    recipe.train(make_networks(config), tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    watched = [record for record in records if "r_v" in record]
    assert [record["step"] for record in watched] == [1, 2]
    assert all(abs(record["r_v"]) < 1e-5 and record["d_train"] == record["d_validation"] for record in watched)
