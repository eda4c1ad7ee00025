"""Files of the tests' own writer, read and run under jit, beside numpy."""

import json
import os

import jax
import numpy as np
import pytest

from sdgan_jax.importers import tflite
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets import graph
from tests.importers.tflite_writer import Writer

SAME = {0: ("Int8", 0), 1: ("Int32", 1), 2: ("Int32", 1)}
# As for users: XLA's wrong values for such blocks, see `graph.run`, come from the optimisations that tests leave out.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
if "--xla_cpu_use_fusion_emitters" in os.environ["XLA_FLAGS"]:  # not known to every version
    OPTIMISED["xla_cpu_use_fusion_emitters"] = True
HALF = {0: ("Int8", 0), 1: ("Int32", 2), 2: ("Int32", 2)}


def half(rng, *shape):
    return rng.normal(size=shape).astype(np.float16)


def dequantized(writer, array):
    return writer.operator("dequantize", [writer.constant(array)], array.shape)


def face_block(rng, size=16, width=6, wider=8):
    """BlazeFace's block with random weights: max_pool(pad(relu(x)) + conv(depthwise(relu(x)))); x = conv(image)."""
    kernels = half(rng, width, 1, 1, 3), half(rng, 1, 3, 3, width), half(rng, wider, 1, 1, width)
    biases = half(rng, width), half(rng, width), half(rng, wider)
    slope, pads = half(rng, 1, 1, wider), np.array([[0, 0], [0, 0], [0, 0], [0, wider - width]], np.int32)
    w = Writer()
    image = w.value(1, size, size, 3)
    held = [[dequantized(w, array) for array in pair] for pair in zip(kernels, biases)]
    x = w.operator("conv", [image, *held[0]], (1, size, size, width), options=SAME)
    x = w.operator("relu", [x], (1, size, size, width))
    y = w.operator("depthwise", [x, *held[1]], (1, size, size, width), options=SAME | {3: ("Int32", 1)})
    y = w.operator("conv", [y, *held[2]], (1, size, size, wider), options=SAME)
    x = w.operator("pad", [x, w.constant(pads)], (1, size, size, wider))
    x = w.operator("add", [x, y], (1, size, size, wider), options={0: ("Int8", 0)})
    pooled = {**HALF, 3: ("Int32", 2), 4: ("Int32", 2)}
    x = w.operator("max_pool", [x], (1, size // 2, size // 2, wider), options=pooled)
    x = w.operator("prelu", [x, dequantized(w, slope)], (1, size // 2, size // 2, wider))
    rows = w.operator("reshape", [x], (1, size * size // 4, wider))
    both = w.operator("concatenation", [rows, rows], (1, size * size // 2, wider), options={0: ("Int32", 1)})
    out = w.operator("logistic", [both], (1, size * size // 2, wider))
    return w.write(image, [out]), (kernels, biases, slope)


def by_numpy(images, kernels, biases, slope):
    """The same block in float64."""
    kernels, biases = ([array.astype(np.float64) for array in some] for some in (kernels, biases))
    x = np.maximum(images @ kernels[0][:, 0, 0].T + biases[0], 0)
    size = x.shape[1]
    around = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y = sum(around[:, i : i + size, j : j + size] * kernels[1][0, i, j] for i in range(3) for j in range(3))
    y = (y + biases[1]) @ kernels[2][:, 0, 0].T + biases[2]
    x = np.pad(x, [(0, 0)] * 3 + [(0, y.shape[-1] - x.shape[-1])]) + y
    x = x.reshape(len(x), size // 2, 2, size // 2, 2, -1).max((2, 4))
    x = np.where(x > 0, x, x * slope.astype(np.float64)).reshape(len(x), -1, x.shape[-1])
    return 1 / (1 + np.exp(-np.concatenate([x, x], 1)))


@pytest.mark.parametrize(("size", "width", "wider"), [(16, 6, 8), (32, 24, 28), (64, 24, 28)])
def test_a_compiled_network_agrees_with_numpy(size, width, wider):
    rng = np.random.default_rng(0)
    data, arrays = face_block(rng, size, width, wider)
    model = tflite.read(data, "file")
    images = rng.uniform(-1, 1, (3, size, size, 3)).astype(np.float32)
    run = jax.jit(lambda arrays, images: graph.apply(model.graph, arrays, images), compiler_options=OPTIMISED)
    (found,) = run(model.arrays, images)
    np.testing.assert_allclose(found, by_numpy(images, *arrays), atol=1e-4)


def test_strided_convolutions_are_padded_as_tensorflow_does():
    rng = np.random.default_rng(1)
    kernel, bias = half(rng, 2, 3, 3, 3).astype(np.float32), np.ones(2, np.float32)
    w = Writer()
    image = w.value(1, 8, 8, 3)
    fused = HALF | {3: ("Int8", 1)}
    out = w.operator("conv", [image, w.constant(kernel), w.constant(bias)], (1, 4, 4, 2), options=fused)
    model = tflite.read(w.write(image, [out]), "file")
    images = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    (found,) = graph.apply(model.graph, model.arrays, images)
    around = np.pad(images[0], [(0, 1), (0, 1), (0, 0)])  # an even side has its one row of zeros at the end
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (0, 1))[::2, ::2]  # [h,w,c,i,j]
    wanted = np.einsum("hwcij,dijc->hwd", windows, kernel)
    np.testing.assert_allclose(found[0], np.maximum(wanted + 1, 0), atol=1e-4)


def test_every_cut_file_is_refused_by_name():
    data, _ = face_block(np.random.default_rng(2))
    for length in range(0, len(data), 41):
        with pytest.raises(FileError, match="file"):
            tflite.read(data[:length], "file")


def test_unknown_operators_are_refused_by_number():
    w = Writer()
    image = w.value(1, 8, 8, 3)
    data = w.write(image, [w.operator("mul", [image, image], (1, 8, 8, 3))])
    with pytest.raises(FileError, match="file has an operator that is not known here, number 18"):
        tflite.read(data, "file")


def test_a_graph_survives_its_settings():
    model = tflite.read(face_block(np.random.default_rng(3))[0], "file")
    assert graph.from_settings(json.loads(json.dumps(graph.to_settings(model.graph)))) == model.graph
    with pytest.raises(ValueError, match="unknown operators: system"):
        graph.from_settings({"size": 8, "outputs": [], "operators": [{"name": "system", "inputs": [], "output": "x"}]})
