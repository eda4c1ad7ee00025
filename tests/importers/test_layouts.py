"""Layouts of public formats against the operations of those formats, and the comparison of names and shapes."""

import jax
import numpy as np
import pytest

from sdgan_jax.importers import layouts
from sdgan_jax.importers.pickles import FileError
from tests.nets import golden

ALL = {
    "SAME": (2, 3),
    "DENSE": (2, 3),
    "CONV": (5, 4, 3, 3),
    "MODULATED": (1, 5, 4, 3, 3),
    "FLIPPED": (3, 3, 4, 5),
    "PLUS_ONE": (7,),
    "SCALAR": (1,),
    "RGB_BIAS": (1, 3, 1, 1),
    "MAP": (4, 4),
    "NCHW_MAP": (1, 1, 4, 4),
    "CHW": (6, 4, 4),
    "NCHW": (1, 6, 4, 4),
    "FLAT_ROWS": (96, 5),
    "FLAT_COLUMNS": (5, 96),
}


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("name", ALL)
def test_writing_is_the_reverse_of_reading(name):
    layout = getattr(layouts, name)
    theirs = numbers(*ALL[name])
    np.testing.assert_array_equal(layout.write(layout.read(theirs)), theirs)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_a_dense_layer_on_a_flattened_map(side):
    """The same numbers, whether the map is flattened as (C,H,W) or as (H,W,C)."""
    rng = np.random.default_rng(0)
    image, weight = rng.standard_normal((2, 6, side, side)), rng.standard_normal((6 * side**2, 5))  # [N,C,H,W]
    expected = image.reshape(2, -1) @ weight
    ours = np.moveaxis(image, 1, -1).reshape(2, -1)
    np.testing.assert_allclose(ours @ layouts.flat_rows(side).read(weight), expected, rtol=1e-12)
    np.testing.assert_allclose(ours @ layouts.flat_columns(side).read(weight.T), expected, rtol=1e-12)


def test_kernels_of_convolutions():
    """A convolution in the format's own order of axes, and in ours."""
    rng = np.random.default_rng(1)
    image, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 5, 5), (3, 4, 3, 3)))
    expected = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    ours = np.moveaxis(image, 1, -1)
    for read in (layouts.CONV.read(kernel), layouts.MODULATED.read(kernel[None])):
        found = jax.lax.conv_general_dilated(ours, read, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        np.testing.assert_allclose(np.moveaxis(found, -1, 1), expected, rtol=0, atol=1e-5)
    assert layouts.FLIPPED.read(numbers(3, 3, 1, 1)).ravel().tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("a.weight", "a.weight"),
        ("module.a.weight", "a.weight"),
        ("module.module._orig_mod.a.weight", "a.weight"),
        ("decoder.module.a.weight", "decoder.a.weight"),
        (3, "3"),
    ],
)
def test_what_wrappers_add_to_a_name_is_removed(key, own):
    assert layouts.own_name(key) == own


def test_the_same_name_twice_is_refused():
    assert layouts.unwrapped({"module.a": 1, "b": 2}, "x") == {"a": 1, "b": 2}
    with pytest.raises(FileError, match="^x holds a twice, with and without `module.` in front; delete one"):
        layouts.unwrapped({"module.a": 1, "a": 2}, "x")


def test_the_highest_number_in_the_names():
    keys = ["b4.conv", "b32.conv", "b16.conv", "c64.conv", "b99"]
    assert layouts.last_number(r"b(\d+)\.conv", keys) == 32
    assert layouts.last_number(r"d(\d+)", keys) == -1
    assert layouts.last_number(r"b(\d+)", ["b" + "9" * 5000]) == 999999


TABLE = layouts.biased("params/dense", "fc.", layouts.DENSE)
SHAPES = {"params/dense/kernel": (2, 3), "params/dense/bias": (3,)}
GIVEN = {"fc.weight": numbers(3, 2), "fc.bias": numbers(3)}


def test_arrays_are_taken_and_put_back():
    ours = layouts.take("x", "the network", GIVEN | {"fc.bias": np.arange(3, dtype=np.float16)}, TABLE, SHAPES)
    np.testing.assert_array_equal(ours["params/dense/kernel"], [[0, 2, 4], [1, 3, 5]])
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in ours.values())
    for key, array in layouts.put(TABLE, ours).items():
        np.testing.assert_array_equal(array, GIVEN[key])
        assert array.flags.c_contiguous
    assert layouts.width(GIVEN, TABLE, "params/dense/bias") == 3
    assert layouts.width({}, TABLE, "params/dense/bias", 7) == 7


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"fc.bias": None}, "does not fit a StyleGAN2; 1 missing (fc.bias)"),
        ({"fc.more": numbers(1)}, "does not fit a StyleGAN2; 1 unexpected (fc.more)"),
        ({"fc.weight": numbers(3, 4)}, "does not fit a StyleGAN2; 1 misshaped (fc.weight is [3, 4], expected [3, 2])"),
        ({"fc.bias": np.array([1, np.nan, 2])}, "1 not finite (fc.bias)"),
        ({"fc.bias": np.array([1, 1e39, 2])}, "1 not finite (fc.bias)"),
        ({f"\n{i}": numbers(1) for i in range(5)}, "5 unexpected (\\n0, \\n1, \\n2, and 2 more)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change, line):
    arrays = {key: array for key, array in (GIVEN | change).items() if array is not None}
    with pytest.raises(FileError) as raised:
        layouts.take("x", "the network", arrays, TABLE, SHAPES)
    assert str(raised.value).startswith("x: the network ") and str(raised.value).endswith(line)


def test_resampling_filters_are_checked_and_left_out():
    """The filters of the golden files, with and without the gain of up-sampling."""
    given = golden.load("rosinality_g32")[1]
    kept = layouts.without_filters("x", given, (".blur.kernel", ".upsample.kernel"))
    assert set(given) - set(kept) == {key for key in given if key.endswith(".kernel")}
    for broken in (np.ones((4, 4)) / 16, np.ones(3)):
        with pytest.raises(FileError, match=r"^x: the filter a.blur.kernel is not \[1,3,3,1\]"):
            layouts.without_filters("x", {"a.blur.kernel": broken}, (".blur.kernel",))
