"""Augmentation against numpy and scipy: each transform alone, the draws, the whole, its derivatives, and p."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.stats
from jax.test_util import check_grads

from sdgan_jax import augmentation
from tests.random_arrays import noise

SIZE = 32
MIDDLE = (SIZE - 1) / 2
GREY = np.ones(3) / np.sqrt(3)
SYM6 = np.array(augmentation.SYM6)

traced = []  # the shapes of images that `augment` was compiled for


@jax.jit
def augment(keys, images, p):
    traced.append(images.shape)
    return augmentation.augment(keys, images, p)


move = jax.jit(augmentation.move)
sample_augmentations = jax.jit(jax.vmap(augmentation.sample_augmentation, (0, None)))
geometry_matrices = jax.jit(jax.vmap(lambda sampled: augmentation.geometry_matrices(sampled, SIZE)))
KEYS = jax.random.split(jax.random.key(1), 8)


def smooth(count=3, waves=4, seed=0):
    """Images [count,R,R] of low frequency, whose mirror images go on smoothly, and how far bilinear samples may be off.

    Linear interpolation at spacing h errs by h² / 8 · |second derivative| in each axis; h is half a pixel.
    """
    amplitudes = np.random.default_rng(seed).standard_normal((count, waves, waves)) / waves
    omega = np.pi * np.arange(waves) / (SIZE - 1)
    basis = np.cos(omega[:, None] * np.arange(SIZE))
    bound = (np.abs(amplitudes) * np.add.outer(omega**2, omega**2)).sum((1, 2)).max() / 32
    return np.einsum("nab,ai,bj->nij", amplitudes, basis, basis).astype(np.float32), bound


def warped(image, forward):
    """`image` [R,R] where what was at (x, y) from the middle is now at `forward` @ (x, y, 1), by quintic splines."""
    inverse = np.linalg.inv(forward)
    matrix = inverse[:2, :2][::-1, ::-1]  # scipy counts (row, column)
    offset = inverse[:2, 2][::-1] + MIDDLE - matrix @ (MIDDLE, MIDDLE)
    return scipy.ndimage.affine_transform(image.astype(np.float64), matrix, offset, order=5, mode="mirror")


def moved(planes, blit=np.eye(3), motion=np.eye(3)):  # noqa: B008
    """`move` of [3,R,R] by one pair of matrices."""
    return move(planes[None], jnp.asarray(blit)[None], jnp.asarray(motion)[None])[0]


def sample(sampled, i):
    """One of many augmentations, in double precision."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[i], np.float64), sampled)


def scaling(x, y):
    return np.diag([x, y, 1.0])


def anticlockwise(angle):
    """On the screen, where y points down."""
    return np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def shifting(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def test_sym6_is_the_orthogonal_filter_with_six_vanishing_moments():
    k = np.arange(12)
    products = [SYM6[: 12 - 2 * i] @ SYM6[2 * i :] for i in range(6)]
    np.testing.assert_allclose(products, [1, 0, 0, 0, 0, 0], atol=1e-11)
    np.testing.assert_allclose([((-1.0) ** k * k**i) @ SYM6 for i in range(6)], 0, atol=1e-8)
    np.testing.assert_allclose(SYM6.sum(), np.sqrt(2))


def test_split_and_join_are_filtering_at_twice_the_rate():
    x, y = noise(20), noise(40, seed=1)
    full = scipy.signal.upfirdn(np.sqrt(2) * SYM6, x, up=2)  # sample m is the sum of SYM6[m + 5 - 2n] x[n]
    phases = augmentation._split(x, 0)  # of pixels 3 to 17
    np.testing.assert_allclose(phases.T.reshape(-1), full[5 + 6 : 5 + 34], atol=1e-5)
    half = scipy.signal.correlate(y, SYM6 / np.sqrt(2), "valid")[1::2][:14]  # from sample 2n - 5 on, y starts at -6
    np.testing.assert_allclose(augmentation._join(y.reshape(20, 2).T, 0), half, atol=1e-5)
    np.testing.assert_allclose(augmentation._join(phases, 0), x[6:14], atol=1e-5)


def test_mirror_and_quarter_turns_are_those_of_numpy():
    planes = noise(3, SIZE, SIZE)
    np.testing.assert_array_equal(moved(planes, augmentation.mirror(1.0)), planes[:, :, ::-1])
    np.testing.assert_array_equal(moved(planes, augmentation.mirror(0.0)), planes)
    for turns in range(4):
        expected = np.rot90(planes, turns, (1, 2))
        np.testing.assert_array_equal(moved(planes, augmentation.turn_quarters(np.float32(turns))), expected)


@pytest.mark.parametrize("x, y", [(3, 0), (0, -4), (-4, 2), (70, -101)])
def test_whole_shifts_show_the_mirror_image_beyond_the_border(x, y):
    planes, far = noise(3, SIZE, SIZE), 128
    wide = np.pad(planes, ((0, 0), (far, far), (far, far)), mode="reflect")
    expected = wide[:, far - y : far - y + SIZE, far - x : far - x + SIZE]
    np.testing.assert_array_equal(moved(planes, augmentation.translate(float(x), float(y))), expected)


@pytest.mark.parametrize(
    "inverse, forward",
    [
        (lambda: augmentation.magnify(1.3, 1.3), scaling(1.3, 1.3)),
        (lambda: augmentation.magnify(0.6, 0.6), scaling(0.6, 0.6)),
        (lambda: augmentation.magnify(1.25, 0.8), scaling(1.25, 0.8)),
        (lambda: augmentation.turn(0.4), anticlockwise(0.4)),
        (lambda: augmentation.turn(-2.5), anticlockwise(-2.5)),
        (lambda: augmentation.translate(3.4, -6.7), shifting(3.4, -6.7)),
        (lambda: augmentation.mirror(1.0) @ augmentation.turn(0.001), anticlockwise(0.001) @ scaling(-1, 1)),
    ],
    ids=["larger", "smaller", "wider", "turned", "turned far", "shifted", "mirrored, in the filter's path"],
)
def test_motions_are_those_of_scipy(inverse, forward):
    images, bound = smooth()
    expected = np.stack([warped(image, forward) for image in images])
    assert bound < 0.01 and np.abs(expected - images).max() > 30 * bound
    # The halving filter averages the error over samples with weights of absolute sum 1.6 an axis.
    np.testing.assert_allclose(moved(images, motion=inverse()), expected, atol=1.6**2 * bound)


def test_the_order_of_the_geometry():
    sampled = sample_augmentations(KEYS, 1.0)
    blits, motions = geometry_matrices(sampled)
    for i in range(len(KEYS)):
        d = sample(sampled, i)
        blit = shifting(*np.round(SIZE * d.shift)) @ anticlockwise(d.turns * np.pi / 2) @ scaling(1 - 2 * d.flip, 1)
        motion = anticlockwise(d.turn_before) @ scaling(d.scale, d.scale)
        motion = anticlockwise(d.turn_after) @ scaling(d.stretch, 1 / d.stretch) @ motion
        np.testing.assert_allclose(np.linalg.inv(blits[i]), blit, atol=1e-5)
        np.testing.assert_allclose(np.linalg.inv(motions[i]), shifting(*SIZE * d.slide) @ motion, atol=2e-5)


def test_colours_in_closed_form():
    c = noise(5, 3)
    grey = (c @ GREY)[:, None] * GREY  # the part along the axis of greys

    def recoloured(matrix):
        return augmentation.recolour(c[:, :, None, None], jnp.broadcast_to(matrix, (5, 4, 4)))[:, :, 0, 0]

    np.testing.assert_allclose(recoloured(augmentation.brighten(0.3)), c + 0.3, atol=1e-6)
    np.testing.assert_allclose(recoloured(augmentation.contrast(np.float32(1.7))), 1.7 * c, atol=1e-6)
    np.testing.assert_allclose(recoloured(augmentation.invert_luma(1.0)), c - 2 * grey, atol=1e-6)
    np.testing.assert_allclose(recoloured(augmentation.saturate(0.4)), grey + 0.4 * (c - grey), atol=1e-6)
    cos, sin = np.cos(0.8), np.sin(0.8)
    rodrigues = cos * c + sin * np.cross(GREY, c) + (1 - cos) * grey
    np.testing.assert_allclose(recoloured(augmentation.turn_hue(0.8)), rodrigues, atol=1e-6)
    third = recoloured(augmentation.turn_hue(2 * np.pi / 3))  # red to green, green to blue, blue to red
    np.testing.assert_allclose(third, np.roll(c, 1, 1), atol=1e-6)


P = 0.3
P_TURN = 1 - np.sqrt(1 - P)
LAWS = {  # field: share of samples that differ from "not applied", and the law of those that do
    "flip": (P / 2, None),
    "turns": (P * 3 / 4, None),
    "shift": (P, scipy.stats.uniform(-0.125, 0.25)),
    "scale": (P, scipy.stats.norm(0, 0.2)),
    "turn_before": (P_TURN, scipy.stats.uniform(-np.pi, 2 * np.pi)),
    "stretch": (P, scipy.stats.norm(0, 0.2)),
    "turn_after": (P_TURN, scipy.stats.uniform(-np.pi, 2 * np.pi)),
    "slide": (P, scipy.stats.norm(0, 0.125)),
    "brightness": (P, scipy.stats.norm(0, 0.2)),
    "contrast": (P, scipy.stats.norm(0, 0.5)),
    "luma": (P / 2, None),
    "hue": (P, scipy.stats.uniform(-np.pi, 2 * np.pi)),
    "saturation": (P, scipy.stats.norm(0, 1)),
}
FACTORS = {"scale", "stretch", "contrast", "saturation"}  # 2 to the power of what has the law


def test_the_law_of_the_draws():
    count = 20_000
    sampled = jax.tree.map(np.asarray, sample_augmentations(jax.random.split(jax.random.key(0), count), P)._asdict())
    assert set(sampled) == set(LAWS)
    applied = {}
    for name, (share, law) in LAWS.items():
        values = np.log2(sampled[name]) if name in FACTORS else sampled[name]
        applied[name] = values.reshape(count, -1).any(1)
        assert abs(applied[name].mean() - share) < 4 * np.sqrt(share / count), name
        for column in values[applied[name]].reshape(applied[name].sum(), -1).T:
            if law:
                assert scipy.stats.kstest(column, law.cdf).pvalue > 1e-3, name
            else:
                shares = np.unique(column, return_counts=True)[1] / len(column)
                np.testing.assert_allclose(shares, {"turns": 1 / 3}.get(name, 1), atol=0.03)
    either = (applied["turn_before"] | applied["turn_after"]).mean()
    assert abs(either - P) < 4 * np.sqrt(P / count)
    correlations = np.corrcoef(np.stack([*applied.values()])) - np.eye(len(LAWS))
    assert np.abs(correlations).max() < 4.5 / np.sqrt(count)
    for name in ("shift", "slide"):  # x and y apart
        assert abs(np.corrcoef(sampled[name][applied[name]].T)[0, 1]) < 4 / np.sqrt(P * count), name


@pytest.mark.parametrize("p", [0.0, 1e-9])
def test_nothing_drawn_is_the_identity_bit_for_bit(p):
    images = noise(8, SIZE, SIZE, 3)
    np.testing.assert_array_equal(augment(KEYS, images, p), images)


def test_everything_drawn_is_scipys_warp_then_the_colours():
    images, bound = smooth(24, waves=3)
    images = images.reshape(8, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
    result = augment(KEYS, images, 1.0)
    sampled = sample_augmentations(KEYS, 1.0)
    blits, motions = geometry_matrices(sampled)
    for i in range(8):
        d = sample(sampled, i)
        forward = np.linalg.inv(np.asarray(blits[i], np.float64) @ np.asarray(motions[i], np.float64))
        expected = np.stack([warped(images[i, :, :, c], forward) for c in range(3)], -1)
        expected = d.contrast * (expected + d.brightness)
        grey = (expected @ GREY)[..., None] * GREY
        expected, grey = expected - 2 * d.luma * grey, (1 - 2 * d.luma) * grey
        expected = np.cos(d.hue) * (expected - grey) + np.sin(d.hue) * np.cross(GREY, expected)
        gain = np.abs(augmentation.colour_matrix(jax.tree.map(lambda leaf, i=i: leaf[i], sampled))[:3, :3]).sum(1).max()
        np.testing.assert_allclose(result[i], grey + d.saturation * expected, atol=1.6**2 * bound * gain)
        assert np.abs(result[i] - images[i]).max() > 10 * bound


def test_a_sample_depends_on_its_key_and_its_image_alone():
    images = noise(8, SIZE, SIZE, 3)
    result = augment(KEYS, images, 0.7)
    neighbours = images[::-1].copy()
    neighbours[5] = images[2]
    keys = KEYS[::-1].at[5].set(KEYS[2])
    np.testing.assert_allclose(augment(keys, neighbours, 0.7)[5], result[2], atol=1e-5)
    assert np.abs(augment(KEYS[::-1], images, 0.7) - result).max(axis=(1, 2, 3)).min() > 0.1


def test_derivatives_to_second_order():
    sampled = sample_augmentations(KEYS, 0.3)
    colours = jax.vmap(augmentation.colour_matrix)(sampled)
    blits, motions = geometry_matrices(sampled)
    assert 0 < (motions == np.eye(3)).all((1, 2)).sum() < 8  # both paths
    with jax.enable_x64(True):
        change = jax.jit(lambda x: jnp.sin(augmentation.recolour(augmentation.move(x, blits, motions), colours)))
        images = jnp.asarray(noise(8, 3, 6, 6), jnp.float64)
        check_grads(change, (images,), order=2, modes=["rev"], atol=1e-5, rtol=1e-5)


def test_the_gradient_is_the_adjoint():
    """<A x, y> = <x, A* y> for the linear part A, whatever x and y."""
    zeros = np.zeros((8, SIZE, SIZE, 3), np.float32)
    for p in (0.4, 1.0):
        _, backward = jax.vjp(lambda images, p=p: augment(KEYS, images, p), zeros)
        for seed in range(3):
            x, y = noise(*zeros.shape, seed=seed), noise(*zeros.shape, seed=10 + seed)
            linear = augment(KEYS, x, p) - augment(KEYS, zeros, p)
            products = (linear * y).sum((1, 2, 3)), (x * backward(y)[0]).sum((1, 2, 3))
            np.testing.assert_allclose(*products, rtol=1e-3, atol=0.05)  # a product is about 50


def test_another_p_compiles_nothing():
    images, before = noise(8, SIZE, SIZE, 3), len(traced)
    results = [augment(KEYS, images, p) for p in (0.0, 0.25, 0.5, 1.0)]
    assert len(traced) <= before + 1
    assert np.abs(results[1] - results[2]).max() > 0.1


@pytest.mark.parametrize(
    "p, sign, expected",
    [
        (0.2, 0.9, 0.2 + 4 * 32 / 500_000),
        (0.2, 0.3, 0.2 - 4 * 32 / 500_000),
        (0.2, -1.0, 0.2 - 4 * 32 / 500_000),
        (0.2, 0.6, 0.2),
        (0.0001, 0.0, 0.0),
        (0.9999, 1.0, 1.0),
    ],
)
def test_adapt_in_closed_form(p, sign, expected):
    moved = augmentation.adapt(
        jnp.float32(p), jnp.float32(sign), batch_size=32, every=4, target=jnp.float32(0.6), ada_kimg=500
    )
    np.testing.assert_allclose(moved, expected, rtol=1e-6)
