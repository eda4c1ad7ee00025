"""PRNet's network against the published TensorFlow code, and at small sizes against torch."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.importers import prnet as importer
from sdgan_jax.nets.prnet import MOMENTUM, ResFCN, upward
from tests.nets import golden

# The golden file's names of taps, and ours.
TAPS = {"conv": "conv", "resBlock": "block_0", "resBlock_1": "block_1", "resBlock_9": "block_9"}
TAPS |= {f"t{index}": f"up_{index}" for index in (0, 1, 7, 13, 15)}


def published_image():
    low = np.float32(0.2) * golden.draw("input.image.low", (1, 8, 8, 3))
    image = (
        np.float32(0.5)
        + low.repeat(32, 1).repeat(32, 2)
        + np.float32(0.1) * golden.draw("input.image", (1, 256, 256, 3))
    )
    image = np.clip(image, 0, 1).astype(np.float32)
    assert zlib.crc32(image.tobytes()) == 759261165
    return image


def test_the_published_network():
    arrays, weights = golden.load("prnet_resfcn256")
    assert len(weights) == 245
    variables = importer.network_of(weights).variables
    run = jax.jit(lambda variables, images: ResFCN(256).apply(variables, images, capture_intermediates=True))
    maps, taps = run(variables, published_image())
    assert np.abs(maps[:, ::4, ::4] - arrays["pos"]).max() < 1e-4
    for theirs, ours in TAPS.items():
        tap = taps["intermediates"][ours]["__call__"][0]
        steps = [max(1, size // 16) for size in tap.shape[1:]]
        expected = arrays[f"{theirs}_s"]
        error = np.abs(tap[:, :: steps[0], :: steps[1], :: steps[2]] - expected).max() / np.abs(expected).max()
        assert error < 1e-4, theirs


def test_the_published_list_of_transposed_convolutions():
    widths = [512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 32, 32, 16, 16, 3, 3, 3]
    assert upward(5, 16) == [(width, 2 if index in (1, 4, 7, 10, 12) else 1) for index, width in enumerate(widths)]


def test_sizes():
    for size in (16, 48, 1024):
        with pytest.raises(ValueError, match=f"size of a ResFCN is {size}; it must be one of 32, 64, 128, 256, 512"):
            ResFCN(size).init(jax.random.key(0), jnp.zeros((1, size, size, 3)))
    with pytest.raises(ValueError, match=r"images must be \[N,32,32,3\], got \[1, 64, 64, 3\]"):
        ResFCN(32).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def random_variables(net, seed=0):
    """Of every array another draw, so that none is at a value that hides it."""
    images = jnp.zeros((1, net.size, net.size, 3))
    shapes = jax.eval_shape(net.init, jax.random.key(0), images)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = rng.standard_normal(leaf.shape).astype(np.float32)
        name = path[-1].key
        if name == "kernel":
            return noise * np.float32(1.4 / np.sqrt(np.prod(leaf.shape[:2]) * leaf.shape[2]))
        return np.abs(noise) + 0.5 if name == "var" else 0.1 * noise + (name == "scale")

    return jax.tree_util.tree_map_with_path(draw, shapes)


def torch_network(variables, images, train):
    """The network in torch, padding written out, transposed convolutions by torch's own; NHWC in and out.

    In training every normalisation is by the batch.
    """
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    params = jax.tree.map(lambda x: torch.tensor(np.array(x), dtype=torch.float64), variables["params"])
    stats = jax.tree.map(lambda x: torch.tensor(np.array(x), dtype=torch.float64), variables["batch_stats"])

    def convolve(x, kernel, stride):
        side = kernel.shape[0]
        total = max(side - stride, 0)
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        return functional.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride)

    def transposed(x, kernel, stride):
        full = functional.conv_transpose2d(x, kernel.permute(3, 2, 0, 1), stride=stride)
        total, side = 4 - stride, x.shape[2] * stride
        return full[:, :, total // 2 : total // 2 + side, total // 2 : total // 2 + side]

    def norm(x, name, tree, stat):
        mean, var = (None, None) if train else (stat["norm"]["mean"], stat["norm"]["var"])
        return functional.batch_norm(x, mean, var, tree["norm"]["scale"], tree["norm"]["bias"], train, eps=1e-3)

    def unit(x, tree, stat, stride=1, operator=convolve):
        return norm(operator(x, tree["conv"]["kernel"], stride), "", tree, stat)

    x = unit(torch.tensor(images, dtype=torch.float64).permute(0, 3, 1, 2), params["conv"], stats["conv"]).relu()
    depth = int(np.log2(images.shape[1])) - 3
    for index in range(2 * depth):
        tree, stat, stride = params[f"block_{index}"], stats[f"block_{index}"], 1 + (index + 1) % 2
        y = unit(x, tree["conv_0"], stat["conv_0"]).relu()
        y = unit(y, tree["conv_1"], stat["conv_1"], stride).relu()
        y = convolve(y, tree["conv_2"]["kernel"], 1)
        x = convolve(x, tree["shortcut"]["kernel"], stride) if stride == 2 else x
        x = norm(x + y, "", tree, stat).relu()
    widths = [len(params[f"up_{index}"]["norm"]["bias"]) for index in range(len(params) - 1 - 2 * depth)]
    for index in range(len(widths)):
        stride = 2 if index and widths[index] < widths[index - 1] and widths[index] > 3 else 1
        x = unit(x, params[f"up_{index}"], stats[f"up_{index}"], stride, transposed)
        x = x.sigmoid() if index == len(widths) - 1 else x.relu()
    return x.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("backend", "train"), [("cpu", False), ("cpu", True), ("gpu", True)])
def test_a_small_network_against_torch(backend, train, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    net = ResFCN(32, channels=8)
    variables = random_variables(net, seed=8)
    images = np.random.default_rng(1).random((3, 32, 32, 3), np.float32)
    maps, changed = jax.jit(lambda v, x: net.apply(v, x, train, mutable="batch_stats"))(variables, images)
    expected = torch_network(variables, images, train)
    assert expected.std((1, 2)).min() > 0.05  # every channel varies over the map
    np.testing.assert_allclose(maps, expected, atol=1e-4)
    old, new = (tree["conv"]["norm"]["mean"] for tree in (variables["batch_stats"], changed["batch_stats"]))
    kernel, padded = variables["params"]["conv"]["conv"]["kernel"], np.pad(images, ((0, 0), (1, 2), (1, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (1, 2)).mean((0, 1, 2))  # [C,k,k]
    batch = np.einsum("cij,ijcd->d", windows, kernel)
    np.testing.assert_allclose(new, MOMENTUM * old + (1 - MOMENTUM) * batch if train else old, atol=1e-6)
