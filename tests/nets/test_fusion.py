"""The fusion network: properties of its offsets at random weights, and its parts against numpy."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.config import FusionConfig
from sdgan_jax.nets.fusion import Face3D, Fusion, feature_side, region_means
from tests.random_arrays import noise

N, A, LAYERS, DIM, SIZE, SIDE, K = 2, 4, 4, 6, 16, 8, 3
CONFIG = FusionConfig(width=4, width_max=8, blocks=1, kernel=3)
DEEP = dataclasses.replace(CONFIG, use_3d=True)


def shares(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


IMAGES, OTHERS = (noise(N, SIZE, SIZE, 3, seed=seed) for seed in range(2))
FACE3D = Face3D(noise(N, 8, 8, 9, seed=2), shares(8, 8, K), shares(N, SIDE, SIDE, K))
MASK, BEARD, BOTH, NONE = ([row] * N for row in ([0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0]))


def make(config, **inputs):
    """The parameters, random everywhere (the scale starts at zero, which would hide everything), and the function."""
    net = Fusion(config, num_attributes=A, num_layers=LAYERS, latent_dim=DIM)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), IMAGES, jnp.zeros((N, A)), **inputs))
    leaves, tree = jax.tree.flatten(shapes["params"])
    params = jax.tree.unflatten(tree, [noise(*leaf.shape, seed=10 + i) for i, leaf in enumerate(leaves)])

    apply = jax.jit(
        lambda params, *given, **more: net.apply({"params": params}, *given, **more), static_argnames="max_attributes"
    )
    return params, lambda images, attributes, **more: np.asarray(apply(params, images, np.float32(attributes), **more))


@pytest.fixture(scope="module")
def plain():
    return make(CONFIG)


@pytest.fixture(scope="module")
def deep():
    return make(DEEP, face3d=FACE3D)


def test_none_has_no_offset(plain):
    offset = plain[1]
    assert offset(IMAGES, MASK).shape == (N, LAYERS, DIM) and offset(IMAGES, MASK).all()
    np.testing.assert_array_equal(offset(IMAGES, NONE), np.zeros((N, LAYERS, DIM)))


def test_offsets_of_several_attributes_add_up(plain):
    offset = plain[1]
    mask, beard = offset(IMAGES, MASK), offset(IMAGES, BEARD)
    assert np.abs(mask - beard).max() > 0.1
    np.testing.assert_allclose(offset(IMAGES, BOTH, max_attributes=2), mask + beard, rtol=1e-4, atol=1e-4)
    weighted = offset(IMAGES, [[0.3, 0.5, -2, 0], [0, 0, 0.7, 0]], max_attributes=2)
    expected = np.stack((0.5 * mask[0] - 2 * beard[0], 0.7 * beard[1]))
    np.testing.assert_allclose(weighted, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(offset(IMAGES, [[0, 0.5, -2, 0]] * N), -2 * beard, rtol=1e-4, atol=1e-4)


def test_removal_has_maps_of_its_own():
    """With weights of -1 the network is that with `removal` in the place of `embedding`, at weights of 1."""
    params, offset = make(dataclasses.replace(CONFIG, removal=True))
    off = [[0, -1, 0, 0]] * N
    given = {name: leaf for name, leaf in params.items() if name != "removal"}
    net = Fusion(CONFIG, num_attributes=A, num_layers=LAYERS, latent_dim=DIM)
    expected = net.apply({"params": given | {"embedding": params["removal"]}}, IMAGES, np.float32(MASK))
    np.testing.assert_allclose(offset(IMAGES, off), expected, rtol=1e-3, atol=1e-4)
    on = net.apply({"params": given}, IMAGES, np.float32(MASK))
    np.testing.assert_allclose(offset(IMAGES, MASK), on, rtol=1e-3, atol=1e-4)
    assert np.abs(offset(IMAGES, off) + on).max() > 0.1  # not the negated one
    weighted = offset(IMAGES, [[0, -0.5, 2, 0]] * N, max_attributes=2)
    np.testing.assert_allclose(weighted, 0.5 * expected + 2 * offset(IMAGES, BEARD), rtol=1e-3, atol=1e-3)


def test_removal_is_added_to_the_features_of_the_template():
    params, offset = make(dataclasses.replace(CONFIG, removal=True, semantic="template"), template=OTHERS)
    assert params["removal"].shape[0] == A - 1
    on, off = offset(IMAGES, MASK, template=OTHERS), offset(IMAGES, [[0, -1, 0, 0]] * N, template=OTHERS)
    assert np.abs(on + off).max() > 0.1 and np.abs(on - off).max() > 0.1
    net = Fusion(
        dataclasses.replace(CONFIG, removal=True, semantic="template"),
        num_attributes=A,
        num_layers=LAYERS,
        latent_dim=DIM,
    )
    still = params | {"removal": np.zeros_like(params["removal"])}
    again = net.apply({"params": still}, IMAGES, -np.float32(MASK), None, OTHERS)
    np.testing.assert_allclose(again, on, rtol=1e-3, atol=1e-4)


def test_offsets_depend_on_their_own_face_alone(plain):
    offset = plain[1]
    one, other = offset(IMAGES, MASK), offset(np.stack((IMAGES[0], OTHERS[1])), MASK)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-4, atol=1e-5)
    assert np.abs(one[1] - other[1]).max() > 0.1


def test_every_part_of_the_3d_shape_changes_the_offset_of_its_face(deep):
    offset = deep[1]
    before = offset(IMAGES, MASK, face3d=FACE3D)
    swapped = jax.tree.map(lambda x: x[::-1], dataclasses.replace(FACE3D, uv_regions=np.zeros(1)))
    swapped = dataclasses.replace(swapped, uv_regions=FACE3D.uv_regions)
    turned = offset(IMAGES[::-1], MASK, face3d=swapped)
    np.testing.assert_allclose(turned, before[::-1], rtol=1e-3, atol=1e-4)
    for name in ("maps", "uv_regions", "image_regions"):
        changed = np.array(getattr(FACE3D, name))
        changed[-1 if name != "uv_regions" else slice(4, 8)] = 0
        moved = np.abs(offset(IMAGES, MASK, face3d=dataclasses.replace(FACE3D, **{name: changed})) - before)
        assert moved[1].max() > 0.01, name
        if name != "uv_regions":  # which all faces share
            assert moved[0].max() < 1e-4, name
    np.testing.assert_array_equal(offset(IMAGES, NONE, face3d=FACE3D), np.zeros((N, LAYERS, DIM)))


def test_codes_are_means_over_regions():
    code_map, regions = noise(2, 3, 3, 5), (shares(6, 6, K) > 0.5).astype(np.float32)
    regions[..., 2] = 0
    actual = region_means(code_map, regions)
    large = code_map.repeat(2, 1).repeat(2, 2)  # [N,S,S,C], as the regions are
    for region in range(2):
        expected = large[:, regions[..., region] == 1].mean(1)
        np.testing.assert_allclose(actual[:, region], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(actual[:, 2], np.zeros((2, 5)))


def names(config, **inputs):
    net = Fusion(config, num_attributes=A, num_layers=LAYERS, latent_dim=DIM)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), IMAGES, jnp.zeros((N, A)), **inputs))
    return set(flax.traverse_util.flatten_dict(shapes["params"], sep="/")), shapes["params"]


def test_switches_change_the_parameters():
    plain, shapes = names(CONFIG)
    assert shapes["embedding"].shape[:3] == (A - 1, SIDE, SIDE)
    added = names(DEEP, face3d=FACE3D)[0] - plain
    assert plain < names(DEEP, face3d=FACE3D)[0]
    assert {name.split("/")[0] for name in added} == {"style", "fuse"} and "fuse/codes" in added
    flat = names(dataclasses.replace(CONFIG, spade=False))[0]
    assert {name for name in flat if name.startswith("fuse/")} == {"fuse/conv/kernel", "fuse/conv/bias"}
    assert {name for name in flat ^ plain} == {name for name in flat | plain if name.startswith("fuse/")}
    imaged = names(dataclasses.replace(CONFIG, semantic="template"), template=OTHERS)[0]
    assert plain - imaged == {"embedding"} and {name.split("/")[0] for name in imaged - plain} == {"template"}


@pytest.mark.parametrize(
    "config", [dataclasses.replace(DEEP, removal=True), dataclasses.replace(DEEP, spade=False, semantic="template")]
)
def test_it_starts_at_zero_and_every_parameter_learns(config):
    """One step along the gradient moves the scale from zero; then there is a gradient for all."""
    inputs = {"face3d": FACE3D} if config.use_3d else {}
    inputs |= {"template": OTHERS} if config.semantic == "template" else {}
    net = Fusion(config, num_attributes=A, num_layers=LAYERS, latent_dim=DIM)
    target, attributes = noise(N, LAYERS, DIM), np.float32([[0, 1, 0, 0], [0, 0, -1, 0]])

    offset = lambda params: net.apply({"params": params}, IMAGES, attributes, **inputs)  # noqa: E731
    slope = jax.jit(jax.grad(lambda params: jnp.square(offset(params) - target).sum()))
    params = jax.jit(lambda: net.init(jax.random.key(0, impl="unsafe_rbg"), IMAGES, attributes, **inputs)["params"])()
    np.testing.assert_array_equal(jax.jit(offset)(params), np.zeros((N, LAYERS, DIM)))
    after = jax.tree.map(lambda x, g: np.asarray(x) - np.float32(0.01) * np.asarray(g), params, slope(params))
    for name, leaf in flax.traverse_util.flatten_dict(slope(after), sep="/").items():
        assert np.abs(leaf).max() > 1e-6, name


def test_the_template_makes_the_offset():
    config = dataclasses.replace(CONFIG, semantic="template")
    _, offset = make(config, template=OTHERS)
    one, other = (offset(IMAGES, MASK, template=template) for template in (OTHERS, OTHERS[::-1]))
    assert np.abs(one - other).max() > 0.1
    np.testing.assert_allclose(offset(IMAGES, BEARD, template=OTHERS), one)
    np.testing.assert_array_equal(offset(IMAGES, NONE, template=OTHERS), np.zeros((N, LAYERS, DIM)))


def test_any_resolution():
    assert [feature_side(resolution) for resolution in (8, 32, 128, 256, 1024)] == [8, 8, 8, 16, 16]
    net = Fusion(CONFIG, num_attributes=A, num_layers=LAYERS, latent_dim=DIM)
    for resolution in (8, 64, 256, 512):
        images = jax.ShapeDtypeStruct((N, resolution, resolution, 3), jnp.float32)
        shape, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), images, jnp.zeros((N, A)))
        assert shape.shape == (N, LAYERS, DIM)
        assert variables["params"]["regressor"]["local"]["kernel"].shape[0] == feature_side(resolution) ** 2
        stages = {8: 1, 64: 3, 256: 4, 512: 4}[resolution]  # of one block each here
        assert sum(name.startswith("block") for name in variables["params"]["face"]) == stages


@pytest.mark.parametrize(
    ("config", "inputs", "message"),
    [
        (DEEP, {}, "fusion.use_3d is True, so face3d must be given"),
        (CONFIG, {"face3d": FACE3D}, "fusion.use_3d is False, so face3d must not be given"),
        (DEEP, {"face3d": dataclasses.replace(FACE3D, image_regions=np.zeros((N, 4, 4, K)))}, "must be .N,8,8,K."),
        (dataclasses.replace(CONFIG, semantic="template"), {}, "'template', so template must be given"),
        (CONFIG, {"max_attributes": 4}, "max_attributes is 4; it must be from 1 to 3"),
    ],
)
def test_wrong_inputs_are_named(config, inputs, message):
    with pytest.raises(ValueError, match=message):
        names(config, **inputs)
