"""The identity network against the published PyTorch implementation, and against one written here with torch."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax.importers import arcface as importer
from sdgan_jax.nets.arcface import ArcFace
from tests.importers import states
from tests.nets import golden

BLOCKS, WIDTHS, EMBEDDING, SIZE = (2, 1), (16, 32), 24, 12  # a small network of the same kind


def close(actual, expected, bound):
    """Largest difference as a share of the largest expected value."""
    assert np.abs(np.asarray(actual) - expected).max() <= bound * np.abs(expected).max()


def nchw(array):
    return np.asarray(array).transpose(0, 3, 1, 2)


def tap(array):
    """Every so many channels, rows and columns, as the golden file keeps of an NCHW map."""
    _, c, h, w = array.shape
    return array[:, :: max(1, c // 16), :: max(1, h // 7), :: max(1, w // 7)]


def golden_images():
    low = np.float32(0.5) * golden.draw("input.images.low", (2, 3, 7, 7))
    images = np.kron(low, np.ones((16, 16), np.float32)) + np.float32(0.25) * golden.draw(
        "input.images", (2, 3, 112, 112)
    )
    assert zlib.crc32(images.tobytes()) == 1786236350
    return images.transpose(0, 2, 3, 1)


def torch_network(state, x, train=False):
    """The network in torch, from the names and shapes of its state dict; returns the embeddings and their lengths."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    state = {key: torch.as_tensor(array) for key, array in state.items()}

    def norm(x, key):
        mean, var = state[f"{key}.running_mean"].clone(), state[f"{key}.running_var"].clone()
        return functional.batch_norm(x, mean, var, state[f"{key}.weight"], state[f"{key}.bias"], train, 0.1, 1e-5)

    def conv(x, key, stride=1):
        kernel = state[f"{key}.weight"]
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    x = functional.prelu(norm(conv(x, "input_layer.0"), "input_layer.1"), state["input_layer.2.weight"])
    strides = [stride for count in BLOCKS for stride in (2,) + (1,) * (count - 1)]
    for block, stride in zip((f"body.{index}" for index in range(len(strides))), strides, strict=True):
        if f"{block}.shortcut_layer.0.weight" in state:
            shortcut = norm(conv(x, f"{block}.shortcut_layer.0", stride), f"{block}.shortcut_layer.1")
        else:
            shortcut = functional.max_pool2d(x, 1, stride)
        y = conv(norm(x, f"{block}.res_layer.0"), f"{block}.res_layer.1")
        y = conv(functional.prelu(y, state[f"{block}.res_layer.2.weight"]), f"{block}.res_layer.3", stride)
        y = norm(y, f"{block}.res_layer.4")
        scale = functional.relu(conv(functional.adaptive_avg_pool2d(y, 1), f"{block}.res_layer.5.fc1"))
        x = y * torch.sigmoid(conv(scale, f"{block}.res_layer.5.fc2")) + shortcut
    x = norm(x, "output_layer.0").flatten(1)
    x = norm(functional.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"]), "output_layer.4")
    return x / torch.linalg.norm(x, dim=1, keepdim=True)


@pytest.mark.parametrize(("backend", "train"), [("cpu", True), ("gpu", False)])
def test_a_small_one_is_that_of_torch(monkeypatch, backend, train):
    """Embeddings, and the derivatives of a function of them in images and weights; by every form of convolution."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    state = states.irse(BLOCKS, WIDTHS, SIZE >> len(BLOCKS), EMBEDDING)
    images, towards = golden.draw("images", (5, SIZE, SIZE, 3)), golden.draw("towards", (5, EMBEDDING))
    settings, variables = importer.variables_of(state)
    assert settings == {"blocks": BLOCKS, "widths": WIDTHS, "embedding_dim": EMBEDDING, "resolution": SIZE}
    net = ArcFace(BLOCKS, WIDTHS, EMBEDDING)

    def loss(params, images):
        all_variables = {"params": params, "batch_stats": variables["batch_stats"]}
        embeddings, _ = net.apply(all_variables, images, train, mutable="batch_stats")
        return (embeddings * towards).sum(), embeddings

    compute = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    (_, embeddings), (grad_params, grad_images) = compute(variables["params"], images)

    x = torch.tensor(nchw(images), requires_grad=True)
    learned = {
        key: torch.tensor(array, requires_grad="running" not in key) for key, array in state.items() if array.ndim
    }
    expected = torch_network(learned, x, train)
    (expected * torch.tensor(towards)).sum().backward()
    close(embeddings, expected.detach().numpy(), 1e-5)
    close(nchw(grad_images), x.grad.numpy(), 1e-4)
    _, gradients = importer.variables_of(
        {key: (array if array.grad is None else array.grad).numpy() for key, array in learned.items()}
    )
    jax.tree.map(  # derivatives in biases that the batch's mean takes away are 0, up to rounding on both sides
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=3e-6 + 2e-4 * np.abs(theirs).max()),
        grad_params,
        gradients["params"],
    )


def test_running_averages_follow_the_batch():
    net, images = ArcFace((1,), (16,), 8), golden.draw("images", (6, 8, 8, 3))
    variables = jax.jit(net.init)(jax.random.key(0, impl="unsafe_rbg"), images)
    apply = jax.jit(lambda v: net.apply(v, images, True, mutable="batch_stats"))
    changes = apply(variables)[1]["batch_stats"]
    kernel = np.asarray(variables["params"]["input"]["kernel"])
    first = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(changes["input_norm"]["mean"], 0.1 * first.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(changes["input_norm"]["var"], 0.9 + 0.1 * first.var((0, 1, 2)), rtol=1e-5)


def test_sizes_that_stages_cannot_halve_are_refused():
    with pytest.raises(ValueError, match=r"a multiple of 16; got \(1, 56, 56, 3\)"):
        ArcFace().init(jax.random.key(0), jnp.zeros((1, 56, 56, 3)))


@pytest.mark.slow
def test_ir_se50_is_the_published_one():
    arrays, state = golden.load("irse50")
    settings, variables = importer.variables_of(state)
    assert settings == {
        "blocks": (3, 4, 14, 3),
        "widths": (64, 128, 256, 512),
        "embedding_dim": 512,
        "resolution": 112,
    }
    net, images = ArcFace(), golden_images()
    np.testing.assert_array_equal(nchw(images)[:, :, ::8, ::8], arrays["image_slice"])

    def cosine(variables, images):
        keep = lambda module, _: module.name in ("input_prelu", "embedding_norm") or "block_" in str(module.name)  # noqa: E731
        embeddings, kept = net.apply(variables, images, capture_intermediates=keep, mutable="intermediates")
        return embeddings[0] @ embeddings[1], (embeddings, kept["intermediates"])

    (cos, (embeddings, kept)), gradient = jax.jit(jax.value_and_grad(cosine, argnums=1, has_aux=True))(
        variables, images
    )
    embeddings, output = np.asarray(embeddings, np.float64), lambda name: kept[name]["__call__"][0]
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    expected = arrays["emb"] / np.linalg.norm(arrays["emb"].astype(np.float64), axis=1, keepdims=True)
    assert (1 - (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True) * expected).sum(1)).max() < 1e-10
    close(embeddings, arrays["emb"], 5e-6)
    close(cos, arrays["cos"][0], 2e-6)
    close(output("embedding_norm"), arrays["prenorm"], 5e-6)
    close(tap(nchw(output("input_prelu"))), arrays["tap_input_layer_s"], 2e-6)
    for index in (0, 3, 7, 21, 23):
        close(tap(nchw(output(f"block_{index}"))), arrays[f"tap_body_{index}_s"], 5e-6)
    close(nchw(gradient)[:, :, ::8, ::8], arrays["grad_x_slice"], 1e-5)
    np.testing.assert_allclose(np.linalg.norm(gradient.reshape(2, -1), axis=1), arrays["grad_x_l2"], rtol=1e-5)
