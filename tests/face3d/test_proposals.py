import numpy as np
import pytest
from PIL import Image

import tfds_megn
from sdgan_jax.face3d import cutting, proposals
from sdgan_jax.pretrained.edges import edge_filter
from tfds_megn import varied


def box_of(params, size):
    points = tfds_megn.landmarks(params, size)[:, :2]
    return np.concatenate([points.min(0), points.max(0)])


@pytest.mark.parametrize("degrees", [0, 20, 60, 100, 140])
def test_an_edge_counts_for_the_two_nearest_directions(degrees):
    # A ramp whose brightness grows in one direction has the same edge everywhere.
    i, j = np.mgrid[:24, :24].astype(np.float32)
    angle = np.deg2rad(degrees)
    found = proposals.cells(3 * (j * np.cos(angle) + i * np.sin(angle)))[2:-2, 2:-2]
    turns = np.arange(9) * 20
    near = np.abs((turns - degrees + 90) % 180 - 90) < 20
    assert (found[..., near] > 0.3).all() and (found[..., ~near] < 1e-3).all()


def test_cells_do_not_depend_on_the_contrast():
    brightness = np.random.default_rng(0).uniform(0, 120, (32, 32)).astype(np.float32)
    np.testing.assert_allclose(proposals.cells(2 * brightness), proposals.cells(brightness), atol=6e-3)


def test_likeness_is_the_product_of_filter_and_window():
    rng = np.random.default_rng(0)
    found, table = rng.normal(size=(13, 12, 9)), rng.normal(size=proposals.NUMBERS)
    windows = np.lib.stride_tricks.sliding_window_view(found, (10, 10), (0, 1)).transpose(0, 1, 3, 4, 2)
    expected = table[0] + windows.reshape(4, 3, -1) @ table[1:]
    np.testing.assert_allclose(proposals.likeness(found, table), expected, atol=1e-4)


@pytest.mark.parametrize("place", [(40, 30), (200, 90), (301, 157)])
@pytest.mark.parametrize("size", [120, 190])
def test_a_face_is_the_best_proposal(place, size):
    """Faces on noise, of people the filter was not fitted to: the median of five is off by a quarter at most."""
    (left, top), errors = place, []
    for person in range(100_000, 100_005):
        params = varied.sample_natural(person)
        photo = np.random.default_rng(0).integers(90, 110, (360, 500, 3)).astype(np.uint8)
        photo[top : top + size, left : left + size] = tfds_megn.render(params, "none", size)
        best = proposals.propose(cutting.halvings(photo), edge_filter(), 40, 200)[0]
        truth = box_of(params, size) + [left, top, left, top]
        errors.append(np.abs(best[:4] - truth).max() / np.ptp(truth[::2]))
        assert best[4] > 3
    assert np.median(errors) < 0.25, errors


def test_a_proposal_has_the_same_place_in_a_larger_photo():
    photo = np.asarray(Image.fromarray(tfds_megn.render(varied.sample_natural(3), "none", 200)))
    large = np.asarray(Image.fromarray(photo).resize((1600, 1600), Image.Resampling.BICUBIC))
    small, big = (
        proposals.propose(cutting.halvings(one), edge_filter(), 0.2 * len(one), 0.8 * len(one))
        for one in (photo, large)
    )
    np.testing.assert_allclose(8 * small[0, :4], big[0, :4], atol=0.06 * 1600)


def test_proposals_are_sorted_and_hardly_overlap():
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    found = proposals.propose([np.kron(photo, np.ones((4, 4, 1), np.uint8))], edge_filter(), 30, 200)
    assert len(found) > 5 and (np.diff(found[:, 4]) <= 0).all()
    areas = np.prod(found[:, 2:4] - found[:, :2], -1)
    for k in range(len(found)):
        low, high = np.maximum(found[k, :2], found[:k, :2]), np.minimum(found[k, 2:4], found[:k, 2:4])
        shared = np.prod(np.clip(high - low, 0, None), -1)
        assert (shared / (areas[k] + areas[:k] - shared) <= 0.5).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (30, 9), (16, 300_000)])
def test_tiny_photos_and_narrow_strips_have_no_proposals(shape):
    photo = np.full((*shape, 3), 80, np.uint8)
    photo[:, 100:120] = 160
    assert len(proposals.propose([photo], edge_filter(), 0.12 * min(shape), 0.8 * min(shape))) == 0


def test_the_filter_tells_faces_from_other_places():
    people = range(700)
    images = [tfds_megn.render(varied.sample_natural(k), "none", 32) for k in people]
    table = proposals.fit(images, np.array([box_of(varied.sample_natural(k), 32) for k in people]))
    assert table.shape == (proposals.NUMBERS,)
    other = varied.sample_natural(5000)
    best = proposals.propose([tfds_megn.render(other, "none", 96)], table, 30, 70)[0]
    truth = box_of(other, 96)
    np.testing.assert_allclose(best[:4], truth, atol=0.25 * np.ptp(truth[::2]))
