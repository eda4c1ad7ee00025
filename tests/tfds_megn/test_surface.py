"""The radial surface against closed forms: spheres, ellipsoids, polynomials."""

import numpy as np
import pytest

from tests.tfds_megn.rotations import rotation
from tfds_megn import surface


def test_the_map_of_directions_has_equal_areas_and_unit_vectors():
    grid = surface.directions(101)
    np.testing.assert_allclose((grid.d**2).sum(0), 1.0, atol=1e-5)
    inside = np.hypot(*np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101))) <= 1
    front = inside & (grid.d[2] > 0)  # half of the sphere
    assert front.sum() / inside.sum() == pytest.approx(0.5, abs=0.01)


def test_a_table_is_read_where_the_direction_says():
    grid = surface.directions(161)
    d = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    d[2] = np.abs(d[2])
    d /= np.sqrt((d * d).sum(0))
    for k in range(3):
        np.testing.assert_allclose(surface.radius(grid.d[k], d), d[k], atol=2e-3)


def test_rays_meet_a_sphere_where_pythagoras_says():
    table = np.full((96, 96), 0.8, dtype=np.float32)
    line = np.linspace(-1, 1, 60, dtype=np.float32)
    turn = rotation((0, 1, 0), 0.4).astype(np.float32)
    rows, z = surface.trace(table, turn, line, line)
    y, x = (line[k] for k in np.divmod(rows, 60))
    inner = x * x + y * y < 0.5
    np.testing.assert_allclose(z[inner], np.sqrt(0.64 - x[inner] ** 2 - y[inner] ** 2), atol=6e-3)
    area = len(rows) * (2 / 59) ** 2
    assert area == pytest.approx(np.pi * 0.64, rel=0.025)


def test_normals_of_an_ellipsoid_are_its_gradient():
    grid = surface.directions(160)
    axes = np.array([0.7, 1.0, 0.9])[:, None, None]
    r = 1 / np.sqrt(((grid.d / axes) ** 2).sum(0))
    gradient = grid.d * r / axes**2
    gradient /= np.sqrt((gradient**2).sum(0))
    n = surface.surface_normals(r.astype(np.float32), grid.d)
    front = grid.d[2] > -0.2
    assert (n * gradient).sum(0)[front].min() > 0.999


def test_the_running_mean_keeps_constants_and_slopes_and_spreads_a_point():
    ramp = np.tile(np.arange(40, dtype=np.float32), (40, 1))
    np.testing.assert_allclose(surface.box_blur(ramp, 2)[:, 5:-5], ramp[:, 5:-5], rtol=1e-6)
    point = np.zeros((21, 21), dtype=np.float32)
    point[10, 8] = 1
    # Twice a box of three is the kernel 1 2 3 2 1 over 9, along each axis.
    kernel = np.zeros((21, 21))
    kernel[8:13, 6:11] = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81
    np.testing.assert_allclose(surface.box_blur(point, 1), kernel, atol=1e-6)


def test_steps_and_bells_are_their_polynomials():
    x = np.linspace(-1, 3, 41)
    share = np.clip((x - 0.5) / 1.5, 0, 1)
    np.testing.assert_allclose(surface.smooth(0.5, 2.0, x), 3 * share**2 - 2 * share**3, atol=1e-12)
    np.testing.assert_allclose(surface.smooth(2.0, 0.5, x), 1 - (3 * share**2 - 2 * share**3), atol=1e-12)
    q = np.linspace(0, 6, 61)
    np.testing.assert_allclose(surface.bell(q), np.where(q < 4, (1 - q / 4) ** 4, 0), atol=1e-12)
    assert np.abs(surface.bell(q) - np.exp(-q)).max() < 0.08


def test_face_coordinates_of_the_mean_head_are_its_points():
    d = np.random.default_rng(0).normal(size=(3, 50))
    x, y, z = d / np.sqrt(((d / np.array(surface.MEAN_AXES)[:, None]) ** 2).sum(0))  # on the ellipsoid
    np.testing.assert_allclose(surface.face_coordinates(2 * x, 2 * y, 2 * z), (x, y, z), atol=1e-12)


@pytest.mark.parametrize("origin, start, stop", [(0, 8, 36), (6, 6, 38), (38, 6, 38), (30, 6, 38)])
def test_the_range_of_blocks_reaches_two_beyond_both_ends_wherever_they_are_counted_from(origin, start, stop):
    """Blocks of four: 16 and 28 are the first samples at or above 15.5 and 27.5."""
    assert surface.block_range(15.5, 27.5, np.arange(100.0), origin) == slice(start, stop)


def test_the_range_of_blocks_begins_at_the_first_sample():
    assert surface.block_range(-50.0, 9.5, np.arange(100.0), 30).start == 0
