"""Supervised descent: what is seen of a face in closed form, and corrections that were put in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.face3d import descent, layout

LAYOUT = layout.megn(32)
HISTOGRAMS = 8 * int((LAYOUT.face.reshape(16, 2, 16, 2).mean((1, 3)) >= 0.5).sum())


def in_place():
    """A map of 32 texels whose texel [i, j] lies in the middle of pixel [i, j] of a picture of 32 pixels."""
    j, i = np.meshgrid(np.arange(32.0), np.arange(32.0))
    return jnp.asarray(np.stack([j, i, 0 * i], -1), jnp.float32)


@pytest.mark.parametrize(("right", "down"), [(0.04, 0.0), (-0.04, 0.0), (0.0, 0.02), (0.02, -0.02)])
def test_a_ramp_brightens_in_its_direction_everywhere(right, down):
    """The share of direction a is max(0, g·a) over the root of the squares of all 8, which is √2·|g|·√2, plus 0.02."""
    j, i = np.meshgrid(np.arange(32.0), np.arange(32.0))
    image = np.repeat((right * (j - 16) + down * (i - 16))[..., None], 3, -1).astype(np.float32)
    seen = np.asarray(descent.describe(jnp.asarray(image), in_place(), LAYOUT))
    ways = [(1, 0), (0.5**0.5, 0.5**0.5), (0, 1), (-(0.5**0.5), 0.5**0.5), (-1, 0), (-(0.5**0.5), -(0.5**0.5)), (0, -1),
            (0.5**0.5, -(0.5**0.5))]  # fmt: skip
    along = np.maximum(np.array(ways) @ [right, down], 0.0)
    expected = along / (np.sqrt(np.square(along).sum()) + 0.02)
    np.testing.assert_allclose(
        seen[:HISTOGRAMS].reshape(-1, 8), np.broadcast_to(expected, (HISTOGRAMS // 8, 8)), atol=1e-4
    )


def test_colours_and_places_are_means_of_cells():
    rng = np.random.default_rng(0)
    image = rng.random((32, 32, 3), np.float32)
    seen = np.asarray(descent.describe(jnp.asarray(image), in_place(), LAYOUT))[HISTOGRAMS:]
    colours = image.reshape(8, 4, 8, 4, 3).mean((1, 3), dtype=np.float64)
    colours = (colours - colours.mean((0, 1))) / (colours.std((0, 1)) + 0.04)
    np.testing.assert_allclose(seen[:192].reshape(8, 8, 3), colours, atol=1e-4)
    middles = (np.arange(4) * 8 + 3.5) / 32
    places = seen[192:].reshape(4, 4, 3)
    np.testing.assert_allclose(places[..., 0], np.broadcast_to(middles, (4, 4)), atol=1e-6)
    np.testing.assert_allclose(places[..., 1], np.broadcast_to(middles[:, None], (4, 4)), atol=1e-6)
    np.testing.assert_allclose(places[..., 2], 0.0, atol=1e-6)


def test_the_face_is_read_where_the_map_says():
    """A picture moved by (3, 5) under a map moved by as much looks the same, but for the places."""
    image = np.random.default_rng(1).random((48, 48, 3), np.float32)
    moved = np.roll(image, (5, 3), (0, 1))
    first = np.asarray(descent.describe(jnp.asarray(image), in_place(), LAYOUT))
    second = np.asarray(descent.describe(jnp.asarray(moved), in_place() + jnp.array([3.0, 5.0, 0.0]), LAYOUT))
    np.testing.assert_allclose(second[:-48], first[:-48], atol=1e-5)
    shift = (second - first)[-48:].reshape(16, 3) * 48
    np.testing.assert_allclose(shift, np.broadcast_to([3.0, 5.0, 0.0], (16, 3)), atol=1e-4)


def test_a_correction_is_linear_in_what_is_seen_and_in_sides_of_the_picture():
    rng = np.random.default_rng(2)
    shapes = descent.shapes(LAYOUT, 3)
    draw = lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32)  # noqa: E731
    stage = jax.tree.map(draw, shapes).replace(deviation=jnp.full(shapes.deviation.shape, 2.0))
    image, position_map = jnp.asarray(rng.random((32, 32, 3)), jnp.float32), in_place()

    def change(image, position_map):
        seen = np.float64(descent.describe(image, position_map, LAYOUT))
        unit = np.append(np.clip((seen - np.float64(stage.mean)) / 2.0, -4.0, 4.0), 1.0)
        return 32 * np.tensordot(unit @ np.float64(stage.weights), np.float64(stage.basis), 1)

    turned = position_map[:, ::-1] * jnp.array([-1.0, 1.0, 1.0]) + jnp.array([31.0, 0.0, 0.0])
    straight, mirrored = change(image, position_map), change(image[:, ::-1], turned)
    expected = (straight + mirrored[:, ::-1] * [-1.0, 1.0, 1.0]) / 2
    corrected = np.asarray(descent.correct(image, position_map, stage, LAYOUT) - position_map)
    np.testing.assert_allclose(corrected, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_what_is_unheard_of_is_cut_off():
    seen = descent.standardise(jnp.array([1.0, 100.0, -100.0]), jnp.array([0.0, 1.0, 1.0]), jnp.array([2.0, 3.0, 5.0]))
    np.testing.assert_allclose(seen, [0.5, 4.0, -4.0, 1.0])


def test_squares_that_do_not_divide_are_refused():
    with pytest.raises(
        ValueError, match="maps of 36 texels along a side cannot be corrected; it must be a multiple of"
    ):
        descent.shapes(layout.megn(36), 4)
