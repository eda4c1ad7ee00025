"""The raster against planes, spheres and crossing sheets, of which everything is known."""

import jax
import numpy as np
import pytest

from sdgan_jax.face3d import raster
from tests.face3d.surfaces import plane, sphere

SIDE, GRID = 48, 64
X, Y = np.meshgrid(*2 * [(np.arange(SIDE * 2) + 0.5) / 2 - 0.5])  # of the samples, in pixels
_DRAW = jax.jit(lambda surface, where: raster.rasterise([(surface, where)], SIDE, SIDE, 2)[0])
_TOGETHER = jax.jit(
    lambda *surfaces: raster.rasterise([one if isinstance(one, tuple) else (one, None) for one in surfaces], SIDE, SIDE)
)
_SEE = jax.jit(lambda points, drawn: raster.visible(points, SIDE, SIDE, drawn))


def draw(surface, where=None):
    """Draws, with arguments of the same shapes wherever it can be."""
    where = np.ones(surface.shape[:2], bool) if where is None else where
    return jax.tree.map(np.asarray, _DRAW(surface, where))


def pair(one, other):
    """Two surfaces in one: a missing row parts them."""
    return np.concatenate([one, np.full((1, GRID, 3), np.nan, np.float32), other])


def test_a_plane_is_exact():
    drawn = draw(plane(GRID, GRID, 5.0, 9.0, 37.0, 40.0))
    inside = (X >= 5) & (X <= 37) & (Y >= 9) & (Y <= 40)
    np.testing.assert_array_equal(drawn.covered, inside)
    u, v = ((X - 5) / 32 * (GRID - 1) + 0.5) / GRID, ((Y - 9) / 31 * (GRID - 1) + 0.5) / GRID
    np.testing.assert_allclose(drawn.uv[inside], np.stack([u, v], -1)[inside], atol=1e-4)
    assert np.isneginf(drawn.depth[~inside]).all()


def test_a_sphere_covers_its_disc_and_shows_its_front():
    """All of it is drawn, back and front, so that the nearer half must win everywhere."""
    radius, centre = 20.0, (23.3, 24.1, 3.0)
    drawn = draw(sphere(GRID, np.pi, radius, centre)[0])
    assert drawn.covered.sum() / 4 == pytest.approx(np.pi * radius**2, rel=0.01)
    rest = radius**2 - (X - centre[0]) ** 2 - (Y - centre[1]) ** 2
    inside = rest > 0.1 * radius**2
    assert drawn.covered[inside].all()  # no holes
    assert not drawn.covered[rest < 0].any()  # nothing beyond the outline
    np.testing.assert_allclose(drawn.depth[inside], centre[2] + np.sqrt(rest[inside]), atol=0.15)


def test_cells_of_many_tiles_are_drawn_whole():
    """Two rows of cells are 30 samples high, where a tile has 4."""
    sheet = plane(GRID, GRID, 5.0, 2.0, 37.0, 8.0)
    sheet[31:, :, 1] += 15.0
    sheet[32:, :, 1] += 15.0
    drawn = draw(sheet)
    np.testing.assert_array_equal(drawn.covered, (X >= 5) & (X <= 37) & (Y >= 2) & (Y <= 38))


def test_one_cell_may_cover_the_image_and_more():
    corners = plane(2, 2, -20.0, -30.0, 90.0, 70.0)
    ours, fine = _TOGETHER(corners, plane(GRID, GRID, 5.0, 9.0, 37.0, 40.0))
    assert np.asarray(ours.covered).all()
    np.testing.assert_allclose(ours.uv, np.stack([(X + 20) / 110 + 0.5, (Y + 30) / 100 + 0.5], -1) / 2, atol=1e-4)
    np.testing.assert_array_equal(fine.covered, (X >= 5) & (X <= 37) & (Y >= 9) & (Y <= 40))


def test_surfaces_are_drawn_each_by_itself():
    """A sphere, a sheet before it with other numbers of points, and a sheet of which little exists."""
    ball = sphere(GRID, np.pi, 20.0, (23.3, 24.1, 3.0))[0]
    sheet = plane(20, 9, 5.0, 9.0, 37.0, 40.0)
    sheet[..., 2] = 50.0
    where = np.zeros((GRID, GRID), bool)
    where[5:9, 7:30] = True
    rag = plane(GRID, GRID, 4.2, 4.2, 40.2, 40.2)
    drawn = _TOGETHER(ball, sheet, (rag, where))
    for ours, alone in zip(drawn, (draw(ball), draw(sheet), draw(rag, where)), strict=True):
        np.testing.assert_array_equal(ours.covered, alone.covered)
        np.testing.assert_allclose(ours.depth, alone.depth, atol=1e-5)
        np.testing.assert_allclose(np.asarray(ours.uv)[alone.covered], alone.uv[alone.covered], atol=1e-6)


def test_rounds_leave_no_cell_and_no_sample_out(monkeypatch):
    """A hundred tiles and samples at once, which divide neither of their numbers, draw the same."""
    points = sphere(GRID, np.pi, 20.0, (23.3, 24.1, 3.0))[0]
    whole = draw(points)
    monkeypatch.setattr(raster, "_AT_ONCE", 100)
    parts = jax.jit(lambda surface: raster.rasterise([(surface, None)], SIDE, SIDE, 2)[0])(points)
    for one, other in ((whole.covered, parts.covered), (whole.depth, parts.depth)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(whole.uv[whole.covered], np.asarray(parts.uv)[whole.covered])


def test_more_tiles_than_there_may_be_leave_the_last_cells_out(monkeypatch):
    """Cells of one sample, and as many tiles as there are cells in the first row."""
    sheet = plane(GRID, GRID, 5.0, 9.0, 5.0 + 0.5 * (GRID - 1), 40.5)
    monkeypatch.setattr(raster, "_MOST_TILES", GRID - 1)
    drawn = jax.jit(lambda surface: raster.rasterise([(surface, None)], SIDE, SIDE, 2)[0])(sheet)
    np.testing.assert_array_equal(drawn.covered, (X >= 5) & (X <= 36.5) & (Y >= 9) & (Y <= 9.5))


def test_of_crossing_sheets_the_nearer_is_seen():
    one, other = (plane(GRID, GRID, 4.0, 4.0, 44.0, 44.0) for _ in range(2))
    one[..., 2], other[..., 2] = one[..., 0] - 20, 20 - other[..., 0]
    drawn = draw(pair(one, other))
    inside = (X > 4.5) & (X < 43.5) & (Y > 4.5) & (Y < 43.5)
    assert drawn.covered[inside].all()
    clear = inside & (np.abs(X - 20) > 0.1)
    np.testing.assert_array_equal((drawn.uv[..., 1] < 0.5)[clear], (X > 20)[clear])
    np.testing.assert_allclose(drawn.depth[inside], np.abs(X - 20)[inside], atol=1e-3)


def test_cells_of_which_a_corner_is_missing_are_not_drawn():
    where = np.ones((GRID, GRID), bool)
    where[10:20, 30] = False
    drawn = draw(plane(GRID, GRID, 4.2, 4.2, 4.2 + 0.5 * (GRID - 1), 4.2 + 0.5 * (GRID - 1)), where)
    column, row = (X - 4.2) / 0.5, (Y - 4.2) / 0.5
    hole = (column > 29) & (column < 31) & (row > 9) & (row < 20)
    np.testing.assert_array_equal(drawn.covered, (column >= 0) & (column <= 63) & (row >= 0) & (row <= 63) & ~hole)


@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_of_a_turned_ball_the_side_towards_the_camera_is_visible(turn):
    points, normal = sphere(GRID, 1.9, 18.0, (24, 24, 0), turn)
    inner = (slice(2, -2), slice(2, -2))
    shares, front = np.asarray(_SEE(points, draw(points)))[inner], normal[inner][..., 2]
    assert (shares[front > 0.25] > 0.95).all() and (shares[front < -0.05] == 0).all()


def test_what_a_sheet_hides_is_not_visible():
    """A ball behind a small sheet: just the points under it are hidden."""
    points, normal = sphere(GRID, 1.0, 18.0, (24, 24, 0))
    sheet = plane(GRID, GRID, 18.0, 20.0, 30.0, 28.0)
    sheet[..., 2] = 40.0
    shares = np.asarray(_SEE(points, draw(pair(points, sheet))))
    x, y = np.abs(points[..., 0] - 24), np.abs(points[..., 1] - 24)
    facing = normal[..., 2] > 0.3
    assert (shares[facing & (x < 5) & (y < 3)] == 0).all()
    assert (shares[facing & ((x > 7) | (y > 5))] > 0.95).all()


def test_too_many_cells_are_refused():
    with pytest.raises(ValueError, match="cells"):
        raster.rasterise([(np.zeros((300, 300, 3), np.float32), None)], 8, 8)
