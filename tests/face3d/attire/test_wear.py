"""Attributes lie where the renderer of the dataset has them, are hidden by the face, and have gradients."""

import dataclasses
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.face3d import alignment, geometry, layout, light
from sdgan_jax.face3d.attire import styles, wear, wearer
from sdgan_jax.face3d.attire.wearer import Attire, Layer, Paint, measure
from tfds_megn import scene
from tfds_megn.render import SAMPLES
from tfds_megn.surface import MEAN_AXES

SIZE = 64
LAYOUT = layout.megn(SIZE)


def face(identity, variant=0, **changes):
    """A picture f32[64,64,3], its position map, and the parameters."""
    params = tfds_megn.sample_params(identity, variant)
    for name, value in changes.items():
        params[tfds_megn.PARAM_NAMES.index(name)] = value
    return pictures.to_float(tfds_megn.render(params, 0, SIZE)), tfds_megn.position_map(params, SIZE), params


def put_on(image, position_map, attribute, style=None):
    out, region = wear.wear(image, position_map, attribute, style, LAYOUT)
    return np.asarray(out), np.asarray(region)


def test_nothing_worn_is_nothing_changed():
    image, position_map, _ = face(0)
    out, region = put_on(image, position_map, "none")
    assert out is image or (out == image).all()
    assert (region == 0).all()


# Parameters of the renderer that are the default styles.
DEFAULTS = dict(
    mask_kind=0, mask_top=0.2, mask_puff=0.5, rim_shape=2, rim_size=1.0, rim_thick=0.03, sun_shape=2, sun_size=1.0,
    sun_thick=0.024, beard_length=0.5, beard_density=0.96, beard_cheek=0.35, mustache_form=0, mustache_thick=1.0,
    mustache_length=1.0,
)  # fmt: skip


def true_coverage(params, attribute, monkeypatch):
    """The share f32[64,64] of each pixel over which the renderer draws an attribute, clear lenses included."""
    clear = np.ones((SIZE * SAMPLES) ** 2, np.float32)
    over = scene.Frame.over

    def record(frame, rows, colour, alpha, touched):
        clear[rows] *= 1 - (np.minimum(20 * alpha, 1) if attribute == "eyeglasses" else alpha)  # a clear lens has 0.05
        over(frame, rows, colour, alpha, touched)

    with monkeypatch.context() as patch:
        patch.setattr(scene.Frame, "over", record)
        tfds_megn.render(params, attribute, SIZE)
    return 1 - clear.reshape(SIZE, SAMPLES, SIZE, SAMPLES).mean((1, 3))


# Measured: 0.855, 0.866, 0.812, 0.812, 0.812. The faces' own lips and noses are not in the outlines of a photo.
@pytest.mark.parametrize(
    ("attribute", "least"),
    [
        ("mask", 0.83),
        ("sunglasses", 0.84),
        ("beard", 0.78),
        pytest.param("eyeglasses", 0.78, marks=pytest.mark.slow),
        pytest.param("mustache", 0.78, marks=pytest.mark.slow),
    ],
)
def test_it_lies_where_the_renderer_has_it(attribute, least, monkeypatch):
    overlaps = []
    for identity in (0, 1, 5, 7):
        image, position_map, params = face(identity, **DEFAULTS)
        out, coverage = put_on(image, position_map, attribute)
        truth = true_coverage(params, attribute, monkeypatch)
        overlaps.append(np.minimum(coverage, truth).sum() / np.maximum(coverage, truth).sum())
        rows = np.argwhere(coverage > 0)[:, 0]
        far = np.abs(np.subtract.outer(rows, np.arange(SIZE))).min(0) > 10  # rows beyond the shadow
        assert (out[far] == image[far]).all()
        assert ((out != image).any(-1) | (coverage < 0.5)).all()
        assert coverage.min() >= 0 and coverage.max() <= 1 and np.abs(out).max() <= 1
    assert np.mean(overlaps) > least and np.min(overlaps) > least - 0.1


def test_ears_are_where_the_head_ends():
    """The renderer's heads have widths of their own; the pose takes up a part of the differences."""
    index, widths, found = tfds_megn.PARAM_NAMES.index("head_width"), [], []
    for identity in (0, 1, 3, 4, 6, 7):
        _, position_map, params = face(identity)
        pose = geometry.pose(jnp.asarray(position_map), LAYOUT)
        found.append(float(wearer._half_width(position_map, LAYOUT, pose)) / MEAN_AXES[0])
        widths.append(params[index])
    assert np.corrcoef(widths, found)[0, 1] > 0.8
    np.testing.assert_allclose(found, widths, atol=0.08)


def test_a_turned_head_hides_the_far_side():
    """A sheet stands upright through the middle of the head: seen beside the face and before it, not behind it."""
    image, position_map, _ = face(2, yaw=0.6)

    def opacity(depth):
        seen = measure(image, position_map, LAYOUT, 2)
        x, y = np.meshgrid(np.linspace(0, SIZE - 1, 32), np.linspace(0, SIZE - 1, 32))
        sheet = jnp.stack([x, y, jnp.full(x.shape, depth)], -1).astype(jnp.float32)
        white = Layer(sheet, sheet[..., :1], lambda field: Paint(field * 0 + 1.0, field[..., 0] * 0 + 1.0), 0.0)
        return wear._compose(seen, Attire([white], lambda places, _: 0 * places[..., 0])), seen.raster

    (behind, drawn), (before, _) = (jax.jit(opacity)(depth) for depth in (-200.0, 200.0))
    covered = np.asarray(drawn.covered).reshape(SIZE, 2, SIZE, 2).mean((1, 3))
    np.testing.assert_allclose(np.asarray(behind.coverage)[1:-1, 1:-1], 1 - covered[1:-1, 1:-1], atol=1e-6)
    assert (np.asarray(before.coverage)[1:-1, 1:-1] == 1).all()


def test_of_a_turned_face_the_far_lens_is_mostly_hidden():
    counts = {}
    for yaw in (0.0, 1.1):
        image, position_map, params = face(4, yaw=yaw, pitch=0.0, roll=0.0)
        _, region = put_on(image, position_map, "sunglasses")
        bridge = tfds_megn.landmarks(params, SIZE)[27, 0]
        x = np.arange(SIZE)
        counts[yaw] = region[:, x < bridge].sum(), region[:, x > bridge].sum()
    assert counts[0.0][0] == pytest.approx(counts[0.0][1], rel=0.2)
    assert counts[1.1][1] < 0.45 * counts[1.1][0]  # turned to the right of the picture: the right lens is the far one


@pytest.mark.parametrize("attribute", ["mask", "beard"])
def test_in_dark_pictures_it_darkens_with_the_face(attribute):
    """The mask's colour is a style's, the beard's that of the brows."""
    image, position_map, _ = face(1)
    linear, drawn = np.square(0.5 + 0.5 * image), {}
    for share in (1, 1 / 4, 1 / 10, 1 / 20):
        seen = wear.observe(2 * np.sqrt(linear * share) - 1, position_map, LAYOUT)
        drawn[share] = float(wear.overlay(seen, attribute).colour.mean()) / share
    assert drawn[1 / 4] == pytest.approx(drawn[1], rel=0.35)  # how white the brightest things are is not known
    for share in (1 / 10, 1 / 20):
        assert drawn[share] == pytest.approx(drawn[1 / 4], rel=0.02 if attribute == "mask" else 0.15)


@pytest.mark.parametrize("identity", [9, 11, 23])
def test_dark_skin_before_a_dark_background_is_in_good_light(identity):
    """By the whites of the eyes: nothing else is bright there."""
    image, position_map, _ = face(identity, identity, skin_r=0.36, skin_g=0.24, skin_b=0.17)
    assert np.percentile(np.square(0.5 + 0.5 * image) @ light.LUMINANCE, 98) < 0.25
    assert wear.observe(image, position_map, LAYOUT).light.exposure > 0.75


@pytest.mark.slow
def test_the_colour_is_the_style_s():
    image, position_map, _ = face(1)
    style = styles.default_style("mask")
    red, region = put_on(image, position_map, "mask", style.replace(colour=styles.parse_colour("#d02020")))
    inside = region > 0.99
    assert red[inside][:, 0].mean() > red[inside][:, 1].mean() + 0.5
    sheet = np.zeros((8, 8, 4), np.uint8)
    sheet[:, :4] = (0, 255, 0, 255)  # green on its left half
    green, _ = put_on(image, position_map, "mask", style.replace(texture=sheet))
    plain, _ = put_on(image, position_map, "mask", style)
    changed = (green != plain).any(-1)
    x = np.argwhere(changed)[:, 1]
    assert 0.25 < changed.sum() / (region > 0).sum() < 0.75 and x.max() < np.argwhere(region > 0.5)[:, 1].max() - 3


@pytest.mark.slow
def test_clear_lenses_are_worn_and_hardly_seen():
    for identity in (0, 3):
        image, position_map, params = face(identity, yaw=0.0)
        out, region = put_on(image, position_map, "eyeglasses")
        marks = tfds_megn.landmarks(params, SIZE)
        for eye in (marks[36:42], marks[42:48]):
            x, y = np.round(eye[:, :2].mean(0)).astype(int)
            lens = (slice(y - 1, y + 2), slice(x - 2, x + 3))
            assert region[lens].min() > 0.98
            assert np.median(np.abs(out[lens] - image[lens])) < 0.2  # a glint is more


@pytest.mark.slow
def test_gradients_reach_the_picture_and_the_texture():
    image, position_map, _ = face(3)
    image = np.clip(image, -0.9, 0.9)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=image.shape).astype(np.float32)
    sheet = rng.uniform(0.2, 0.8, (6, 6, 4)).astype(np.float32)
    style = styles.default_style("mask")

    @jax.jit
    def loss(image, sheet):
        out, _ = wear.wear(image, position_map, "mask", dataclasses.replace(style, texture=sheet), LAYOUT)
        return (out * weights).sum()

    slopes = jax.jit(jax.grad(loss, (0, 1)))(image, sheet)
    step = 4e-3
    toward = rng.normal(size=image.shape).astype(np.float32)
    rise = loss(image + step * toward, sheet) - loss(image - step * toward, sheet)
    assert float((slopes[0] * toward).sum()) == pytest.approx(float(rise) / (2 * step), rel=0.03)
    toward = rng.normal(size=sheet.shape).astype(np.float32)
    rise = loss(image, sheet + step * toward) - loss(image, sheet - step * toward)
    assert float((slopes[1] * toward).sum()) == pytest.approx(float(rise) / (2 * step), rel=0.03)


@pytest.mark.slow
def test_a_batch_is_worn_as_each_alone():
    faces = [face(k)[:2] for k in (0, 1)]
    images, maps = (np.stack(part) for part in zip(*faces))
    batch = jax.jit(jax.vmap(lambda image, position_map: wear.wear(image, position_map, "beard", None, LAYOUT)))
    out, _ = batch(images, maps)
    for k in range(2):
        np.testing.assert_allclose(out[k], put_on(images[k], maps[k], "beard")[0], atol=2e-3)


def test_a_photo_keeps_its_pixels_and_its_size():
    """A face in the corner of a photo of another shape."""
    params = tfds_megn.sample_params(6)
    photo = np.random.default_rng(0).integers(0, 255, (150, 230, 3)).astype(np.uint8)
    photo[10:138, 90:218] = tfds_megn.render(params, 0, 128)
    position_map = tfds_megn.position_map(params, 128)[::2, ::2] + np.float32([90, 10, 0])
    style = styles.default_style("mask").replace(colour=styles.parse_colour("#d02020"))
    out = wear.wear_photo(photo, position_map, {"mask": style})
    changed = (out != photo).any(-1)
    truth = (tfds_megn.render(params, "mask", 128) != tfds_megn.render(params, 0, 128)).any(-1)
    there = np.zeros_like(changed)
    there[10:138, 90:218] = truth
    assert (changed & there).sum() / (changed | there).sum() > 0.7
    assert out.shape == photo.shape and (out[:, :90] == photo[:, :90]).all()
    assert out[changed & there][:, 0].mean() > out[changed & there][:, 1].mean() + 60


def test_a_large_face_is_drawn_in_strips(monkeypatch):
    """In little memory, and as in one piece; resized by parts, colours may round otherwise."""
    monkeypatch.setattr(wear, "_SIDES", (128,))
    params, size = tfds_megn.sample_params(6), 1200
    photo = np.asarray(Image.fromarray(tfds_megn.render(params, 0, 128)).resize((size, size)))
    position_map = np.asarray(pictures.scale_positions(tfds_megn.position_map(params, 64), size / 64), np.float32)
    chosen = {"mask": styles.default_style("mask")}
    monkeypatch.setattr(alignment, "STRIP", size)
    whole = wear.wear_photo(photo, position_map, chosen).astype(int)
    monkeypatch.setattr(alignment, "STRIP", 50)
    tracemalloc.start()
    parts = wear.wear_photo(photo, position_map, chosen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(whole - parts).max() <= 1
    assert (np.abs(whole - photo).max(-1) > 20).mean() > 0.05
    assert peak < 4 * photo.nbytes  # the five planes of the whole patch alone are seven times the photo


def test_bad_input_is_refused_in_one_line():
    image, position_map, _ = face(0)
    with pytest.raises(ValueError, match="hat"):
        wear.wear(image, position_map, "hat")
    with pytest.raises(ValueError, match="surgical"):
        wear.wear(image, position_map, "mask", styles.Style("round"))
    with pytest.raises(ValueError, match="32 texels"):
        wear.wear(image, position_map, "mask", layout=layout.megn(32))
    with pytest.raises(ValueError, match="S,S,3"):
        wear.wear(image, position_map[..., :2], "mask")


def test_a_shadow_is_seen_in_rows_without_the_attribute():
    image, position_map, _ = face(5)

    @jax.jit
    def draw():
        seen = measure(image, position_map, LAYOUT, 2)
        x, y = np.meshgrid(np.linspace(2, SIZE - 3, 32), np.linspace(2, 5, 32))
        sheet = jnp.stack([x, y, jnp.full(x.shape, -500.0)], -1).astype(jnp.float32)
        black = Layer(sheet, sheet[..., :1], lambda field: Paint(field * jnp.zeros(3), field[..., 0] * 0 + 1.0))
        made = Attire([black], lambda places, _: jnp.where(places[..., 1] > -9.0, 0.5, 0.0))
        return wear._compose(seen, made), seen.raster.covered

    drawn, covered = draw()
    covered = np.asarray(covered).reshape(SIZE, 2, SIZE, 2).mean((1, 3))
    np.testing.assert_allclose(drawn.keep[8:], 1.0 - 0.5 * covered[8:], atol=1e-6)
    assert (covered[8:] > 0).any() and (np.asarray(drawn.coverage)[8:] == 0).all()


@pytest.mark.parametrize("attribute", ["mask", "sunglasses"])
def test_bands_that_are_left_out_would_not_have_changed(attribute, monkeypatch):
    """Also with the shadow, which reaches beyond the attribute."""
    image, position_map, _ = face(5)
    seen, draws = wear.observe(image, position_map, LAYOUT), []
    for bands in (1, 16):
        monkeypatch.setattr(wear, "_BANDS", bands)
        draw = jax.jit(wear._overlay.__wrapped__, static_argnames="attribute")
        draws.append(draw(seen, styles.default_style(attribute), attribute=attribute))
    for whole, banded in zip(*map(jax.tree.leaves, draws), strict=True):
        np.testing.assert_allclose(banded, whole, atol=1e-6)
