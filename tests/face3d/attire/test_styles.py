"""Styles: their names, their draws, their colours."""

import numpy as np
import pytest

from sdgan_jax.face3d.attire import styles
from tfds_megn import attire


@pytest.mark.parametrize("attribute", styles.KINDS)
def test_random_styles_repeat_and_reach_every_kind(attribute):
    drawn = [styles.random_style(attribute, seed) for seed in range(40)]
    assert {style.kind for style in drawn} == set(styles.KINDS[attribute])
    again = styles.random_style(attribute, 7)
    assert again.size == drawn[7].size and again.kind == drawn[7].kind
    assert len({style.size for style in drawn}) == 40
    assert {styles.random_style(attribute, seed, styles.KINDS[attribute][1]).kind for seed in range(9)} == {
        styles.KINDS[attribute][1]
    }


def test_colours_are_read():
    np.testing.assert_allclose(styles.parse_colour("#7fb2d9"), [127 / 255, 178 / 255, 217 / 255], rtol=1e-6)
    with pytest.raises(ValueError, match="#rrggbb"):
        styles.parse_colour("blue")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="mustache"):
        styles.default_style("hat")
    with pytest.raises(ValueError, match="aviator"):
        styles.default_style("sunglasses", "square")


def test_aviators_have_rims_of_gold_and_other_glasses_black_ones():
    rims = {kind: styles.default_style("sunglasses", kind).colour for kind in styles.KINDS["sunglasses"]}
    red, green, blue = rims.pop("aviator")
    assert red > green > 1.5 * blue > 0.3
    assert max(colour.max() for colour in rims.values()) < 0.1


def test_colours_are_those_of_the_renderer():
    palettes = {
        "eyeglasses": attire.RIMS, "sunglasses": attire.RIMS, "beard": (*attire.HAIRS.values(), attire.GREY_HAIR),
    }  # fmt: skip
    for attribute, palette in palettes.items():
        drawn = [styles.random_style(attribute, seed).colour for seed in range(60)]
        seen = {tuple(colour) for colour in drawn if colour is not None}
        assert len(seen) >= 5 and seen <= {tuple(np.float32(colour)) for colour in palette}
    masks = [styles.random_style("mask", seed, "surgical").colour for seed in range(40)]
    assert {tuple(colour) for colour in masks} == {tuple(np.float32(colour)) for colour in attire.MASKS}
