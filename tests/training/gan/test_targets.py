"""Pairs of faces for the stage `fusion`: which faces they are, what is known of them, and that they are made once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax import config as c
from sdgan_jax import pictures
from sdgan_jax.face3d.attire import styles
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import targets
from tests.training import tiny
from tests.training.gan import edit_pairs

NAMES = tiny.ATTRIBUTES  # none, mask, beard


@pytest.fixture(autouse=True)
def six_faces(monkeypatch):
    monkeypatch.setattr(targets.rendered, "read", edit_pairs.read)


def make(config, count=10, split="train", put_on=None):
    nets, trees = make_networks(config), edit_pairs.trees(config)
    return nets, trees, targets.make_pairs(nets, trees, {split: count}, put_on)[split]


def check_latents(nets, trees, pairs, rows=slice(None)):
    """The latents are E's, told what the faces wear where it is to be taken off, and the reconstructions G's."""
    images, edit = pictures.to_float(pairs["source"][rows]), pairs["attributes"][rows]
    told = np.where((edit < 0).any(1, keepdims=True), edit < 0, np.nan).astype(np.float32)  # one attribute at most
    latent, _ = jax.jit(nets.encode_and_recognise)(trees["params_e"], images, trees["w_avg"], told)
    np.testing.assert_allclose(pairs["latent"][rows], latent, rtol=1e-3, atol=1e-3)
    variables = {"params": trees["ema_g"], "buffers": trees["buffers_g"]}
    drawn = jax.jit(lambda w: nets.synthesize(variables, w, "const"))(pairs["latent"][rows])
    difference = pictures.to_uint8(np.asarray(drawn)).astype(int) - pairs["reconstruction"][rows]
    assert np.abs(difference).max() <= 1


def test_rendered_faces_have_their_true_targets():
    """Ten pairs of six faces: every second pair takes off what the one before puts on, and faces are used again."""
    nets, trees, pairs = make(edit_pairs.config())
    kinds = [1, 1, 2, 2, 1, 1, 2, 2, 1, 1]
    for row, kind in enumerate(kinds):
        params = edit_pairs.PARAMS[[0, 1, 2, 3, 4, 5, 1, 2, 3, 4][row]]
        plain, worn = (tfds_megn.render(params, name, 8) for name in ("none", NAMES[kind]))
        source, target = (worn, plain) if row % 2 else (plain, worn)
        np.testing.assert_array_equal(pairs["source"][row], source)
        np.testing.assert_array_equal(pairs["target"][row], target)
        expected = np.zeros(3)
        expected[kind] = -1 if row % 2 else 1
        np.testing.assert_array_equal(pairs["attributes"][row], expected)
    check_latents(nets, trees, pairs)
    assert "position_map" not in pairs


def test_without_removal_all_pairs_put_on():
    fusion = dataclasses.replace(edit_pairs.config().fusion, removal=False)
    _, _, pairs = make(edit_pairs.config(fusion=fusion), 4)
    np.testing.assert_array_equal(pairs["attributes"], [[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(pairs["source"][1], tfds_megn.render(edit_pairs.PARAMS[1], "none", 8))


class Position:
    """A position network that says nothing; its layout is a mark."""

    uv_layout = "layout"

    def __call__(self, images):
        return jnp.zeros((len(images), 4, 4, 3)) + images.mean((1, 2))[:, None, None]


def paint(image, position_map, attribute, seed, layout):
    """Stands for `wear`: a row of pixels that tells the attribute."""
    assert layout == "layout"
    np.testing.assert_allclose(position_map[0, 0], pictures.to_float(image).mean((0, 1)), atol=1e-5)
    worn = image.copy()
    worn[0] = NAMES.index(attribute)
    return worn


def test_photos_wear_by_their_position_maps(monkeypatch, tmp_path):
    monkeypatch.setattr(targets.pretrained, "position_network", lambda path: Position())
    config = edit_pairs.config(dataset="tiny_run_faces", data_dir=str(tmp_path))
    nets, trees, pairs = make(config, 26, "validation", paint)  # the data set has a training split alone
    sources = {image.tobytes() for image in pairs["source"][::2]}
    assert len(sources) == 12  # those without an attribute
    for row, kind in enumerate(np.arange(26) // 2 % 2 + 1):
        plain, worn = (pairs[name][row] for name in (("target", "source") if row % 2 else ("source", "target")))
        assert (worn[0] == kind).all() and (worn[1:] == plain[1:]).all()
    check_latents(nets, trees, pairs)


def test_a_share_of_the_faces_is_drawn_by_g(monkeypatch):
    monkeypatch.setattr(targets.pretrained, "position_network", lambda path: Position())
    staged = c.StagedConfig(sample_share=0.5)
    nets, trees, pairs = make(edit_pairs.config(staged=staged), 8, "train", paint)
    worn = np.where((np.arange(8) % 2)[:, None, None, None] == 1, pairs["source"], pairs["target"])
    drawn = (worn[:, 0] == (np.arange(8) // 2 % 2 + 1)[:, None, None]).all((1, 2))
    assert drawn.sum() == 4
    for face, row in enumerate(np.flatnonzero(~drawn)):
        images = [pairs[name][row] for name in (("target", "source") if row % 2 else ("source", "target"))]
        for image, name in zip(images, ("none", NAMES[row // 2 % 2 + 1]), strict=True):
            np.testing.assert_array_equal(image, tfds_megn.render(edit_pairs.PARAMS[face], name, 8))
    exact = drawn & (np.arange(8) % 2 == 0)
    assert 0 < exact.sum() < 4
    np.testing.assert_array_equal(pairs["source"][exact], pairs["reconstruction"][exact])
    w = pairs["latent"][exact]
    assert (w == w[:, :1]).all() and len({one.tobytes() for one in w}) == exact.sum()
    check_latents(nets, trees, pairs, ~exact)


def test_maps_are_those_of_the_position_network():
    nets = dataclasses.replace(make_networks(edit_pairs.config()), position=Position())
    pairs = targets.make_pairs(nets, edit_pairs.trees(nets.config), {"train": 4})["train"]
    assert pairs["position_map"].dtype == np.float16 and pairs["position_map"].shape == (4, 4, 4, 3)
    expected = pictures.to_float(pairs["source"]).mean((1, 2))
    np.testing.assert_allclose(pairs["position_map"][:, 1, 2], expected, atol=1e-3)


def test_pairs_are_made_once(monkeypatch, tmp_path):
    config = edit_pairs.config(staged=c.StagedConfig(targets=4))
    nets, trees = make_networks(config), edit_pairs.trees(config)
    learnt, shown = targets.prepare(nets, trees, tmp_path)
    assert len(learnt["source"]) == 4 and len(shown["source"]) == targets.SHOWN
    made = targets.make_pairs(nets, trees, {"train": 4})["train"]
    (file,) = tmp_path.glob("targets_*.safetensors")

    def fail(*_):
        raise AssertionError("made again")

    with monkeypatch.context() as patch:
        patch.setattr(targets, "make_pairs", fail)
        again, _ = targets.prepare(make_networks(config), trees, tmp_path)
    for name, array in made.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    other = dict(trees, w_avg=trees["w_avg"] + 1)
    targets.prepare(nets, other, tmp_path)
    (changed,) = tmp_path.glob("targets_*.safetensors")
    assert changed != file


def test_attributes_that_cannot_be_drawn_are_refused():
    with pytest.raises(
        ValueError, match="attributes is none, hat; the stage fusion needs .* can draw mask, eyeglasses"
    ):
        targets.check(dataclasses.replace(edit_pairs.config(), attributes=("none", "hat")))


def test_each_face_wears_a_style_of_its_own(monkeypatch):
    seen = []

    def wear(image, position_map, attribute, style, layout):
        seen.append((attribute, style, layout))
        return image * -1, None

    monkeypatch.setattr(targets.wear, "wear", wear)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    worn = targets._wear(image, np.zeros((4, 4, 3)), "beard", 7, "layout")
    np.testing.assert_array_equal(worn, 255 - image)
    expected = styles.random_style("beard", 7)
    assert seen[0][0] == "beard" and seen[0][2] == "layout"
    assert (seen[0][1].kind, seen[0][1].size) == (expected.kind, expected.size)
