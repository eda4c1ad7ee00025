"""The 3D embedding of a flat face, whose areas are known, and of a rendered one."""

import jax
import jax.numpy as jnp
import numpy as np

import tfds_megn
from sdgan_jax.face3d import embedding, layout


def flat(size, left, right, top, bottom):
    """A position map that spreads the UV square over a rectangle of the picture."""
    line = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(left + line * (right - left) - 0.5, top + line * (bottom - top) - 0.5)
    return jnp.asarray(np.stack([x, y, np.zeros_like(x)], -1), jnp.float32)


def test_a_region_covers_its_area_of_the_picture():
    square = layout.megn(64)
    cover = np.asarray(jax.jit(lambda p: embedding.region_cover(p, square, 8, 64))(flat(64, 8, 40, 16, 48)))
    expected = square.regions.sum((0, 1)) * 0.25 / 64  # a texel is half a pixel wide, a cell 8 x 8 pixels
    np.testing.assert_allclose(cover.sum((0, 1)), expected, rtol=1e-4)
    assert cover[:2].sum() == 0 and cover[:, 5:].sum() == 0  # above and to the right of the rectangle
    # Cell [3, 2] is the pixels from (16, 24): texels 16 to 32 down and across.
    np.testing.assert_allclose(cover[3, 2], square.regions[16:32, 16:32].mean((0, 1)), atol=1e-4)


def test_the_back_of_a_face_covers_nothing_and_folds_do_not_count_twice():
    square = layout.megn(64)
    cover = jax.jit(lambda p: embedding.region_cover(p, square, 4, 32))
    mirrored = flat(64, 32, 0, 0, 32)
    assert np.asarray(cover(mirrored)).max() == 0
    doubled = flat(64, 0, 32, 0, 32).at[32:].add(jnp.array([0.0, -16.0, 0.0]))  # both halves on the upper one
    assert np.asarray(cover(doubled)).sum(-1).max() <= 1 + 1e-5


def test_maps_are_places_in_the_box_normals_and_colours():
    square = layout.megn(64)
    line = np.linspace(-1, 1, 64, dtype=np.float32)
    image = np.stack([*np.meshgrid(line, line), np.zeros((64, 64), np.float32)], -1)
    place = flat(64, 8, 40, 16, 48)
    embed = jax.jit(lambda i, p: embedding.embed(i, p, square, 8))
    face = embed(jnp.asarray(image)[None], place[None])
    maps = np.asarray(face.maps)[0]
    np.testing.assert_allclose(maps[5:-5, 5:-5, 3:6], np.broadcast_to([0, 0, 1], (54, 54, 3)), atol=1e-5)
    np.testing.assert_allclose(maps[..., 6], place[..., 0] * 2 / 63 - 1, atol=1e-5)
    u = square.landmarks[:, 0]
    expected = (line * (63 / 64) / 2 + 0.5 - (u.min() + u.max()) / 2) / ((u.max() - u.min()) / 2)
    np.testing.assert_allclose(maps[0, :, 0], expected, atol=1e-4)
    assert face.image_regions.shape == (1, 8, 8, 6)


def test_the_mouth_of_a_rendered_face_is_below_its_eyes():
    params = tfds_megn.sample_params(3)
    cover = jax.jit(lambda p: embedding.region_cover(p, layout.megn(64), 16, 64))
    eyes, mouth = np.asarray(cover(tfds_megn.position_map(params, 64)))[..., [0, 2]].transpose(2, 0, 1)
    rows = np.arange(16)[:, None]
    _, y, _ = tfds_megn.landmarks(params, 64).T
    for region, points in ((eyes, slice(17, 48)), (mouth, slice(48, 68))):
        middle = (region * rows).sum() / region.sum() * 4 + 1.5
        assert abs(middle - y[points].mean()) < 3
