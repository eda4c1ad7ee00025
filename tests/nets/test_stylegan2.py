"""Imported weights against the published PyTorch implementations: rosinality's, and NVlabs' stylegan2-ada-pytorch.

The bounds are shares of the largest expected value.
"""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import latents
from sdgan_jax.importers import nvlabs, rosinality
from sdgan_jax.importers.assembly import assemble
from sdgan_jax.networks import make_networks
from tests.nets import golden

LAYERS = 8


def close(actual, expected, bound):
    """Largest difference as a share of the largest expected value."""
    assert np.abs(np.asarray(actual) - expected).max() <= bound * np.abs(expected).max()


def nhwc(array):
    return array.transpose(0, 2, 3, 1)


@pytest.fixture(scope="module", params=["rosinality", "ada"])
def model(request):
    """Networks, trees, the golden arrays of G and D, and which reference it is."""
    if request.param == "rosinality":
        (arrays_g, state_g), (arrays_d, state_d) = golden.load("rosinality_g32"), golden.load("rosinality_d32")
        parts = rosinality.parts_of(state_g, state_d, arrays_g["mean_latent"])
        imported = assemble("golden", rosinality.FORMAT, parts)
    else:
        (arrays_g, state_g), (arrays_d, state_d) = golden.load("ada_g32_c0"), golden.load("ada_d32_c0")
        same, _ = golden.load("rosinality_d32")
        arrays_d |= {name: same[name] for name in ("images", "images8")}
        imported = assemble("golden", nvlabs.FORMAT, nvlabs.parts_of(state_g, state_d))
    return Imported(imported, arrays_g, arrays_d, request.param)


class Imported:
    """The networks of a golden file, compiled with their weights as arguments: as constants XLA would fold them."""

    def __init__(self, imported, arrays_g, arrays_d, name):
        nets, trees = make_networks(imported.config), imported.trees
        self.arrays_g, self.arrays_d, self.name, self.trees = arrays_g, arrays_d, name, trees
        self.variables = {"params": trees["ema_g"], "buffers": trees["buffers_g"]}
        self._map, self._draw = jax.jit(nets.map), jax.jit(nets.synthesize, static_argnames="noise")
        self.judge = jax.jit(lambda params, images: nets.discriminate(params, images)[0])

    def map(self, z):
        return self._map(self.variables, z)

    def draw(self, w_plus, noise="const"):
        return self._draw(self.variables, w_plus, noise=noise)

    def to_w_plus(self, z, psi=1.0, cutoff=None):
        w_plus = latents.broadcast_layers(self.map(z), LAYERS)
        return latents.truncate(w_plus, self.trees["w_avg"], psi, cutoff)


def test_mapping_and_images(model):
    arrays = model.arrays_g
    w = model.map(arrays["z"])
    close(w, arrays["w"], 1e-5)
    image = model.draw(latents.broadcast_layers(w, LAYERS))
    close(image, nhwc(arrays["img"]), 1e-5)
    if model.name == "rosinality":
        close(jnp.square(image).sum(), arrays["sumsq"], 1e-5)


def test_each_layer_has_its_own_w(model):
    arrays, name = model.arrays_g, {"rosinality": "wplus", "ada": "ws"}[model.name]
    close(model.draw(arrays[name]), nhwc(arrays[f"img_{name}"]), 1e-5)
    if model.name == "rosinality":
        truncated = latents.truncate(arrays["wplus"], model.trees["w_avg"], 0.5)
        close(model.draw(truncated), nhwc(arrays["img_wplus_trunc05"]), 1e-5)
        mixed = latents.mix(model.to_w_plus(arrays["z"]), model.to_w_plus(arrays["z"][::-1]), 3)
        close(model.draw(mixed), nhwc(arrays["img_mix"]), 1e-5)


def test_truncation_pulls_towards_the_imported_average(model):
    arrays = model.arrays_g
    close(model.draw(model.to_w_plus(arrays["z"], 0.5)), nhwc(arrays["img_trunc05"]), 1e-5)
    if model.name == "ada":
        close(model.draw(model.to_w_plus(arrays["z"], 0.5, cutoff=4)), nhwc(arrays["img_trunc05_cutoff4"]), 1e-5)


def test_without_noise(model):
    if model.name == "rosinality":
        pytest.skip("rosinality's golden file has no image without noise")
    arrays = model.arrays_g
    close(model.draw(model.to_w_plus(arrays["z"]), "none"), nhwc(arrays["img_nonoise"]), 1e-5)


@pytest.mark.slow
def test_gradient_with_respect_to_z(model):
    energy = lambda z: jnp.square(model.draw(model.to_w_plus(z))).sum()  # noqa: E731
    gradient = jax.grad(energy)(model.arrays_g["z"])
    close(gradient, model.arrays_g["dz"], 5e-4)
    if model.name == "rosinality":
        close(gradient, model.arrays_g["dz_f64"], 5e-4)


def test_discriminator_logits(model):
    """Batches of 1, 2, 4 and 8; the last in two groups of every other image."""
    arrays, params = model.arrays_d, model.trees["params_d"]
    images = nhwc(arrays["images"])
    batches = {"logits": images, "logits_b8": nhwc(arrays["images8"])}
    if model.name == "rosinality":
        batches |= {"logits_b1": images[:1], "logits_b2": images[:2]}
    for name, batch in batches.items():
        close(model.judge(params, batch), arrays[name][:, 0], 1e-5)


@pytest.mark.slow
def test_discriminator_r1(model):
    arrays, params = model.arrays_d, model.trees["params_d"]
    gradient = jax.grad(lambda x: model.judge(params, x).sum())(nhwc(arrays["images"]))
    # One sample of NVlabs' float32 run is 2.3e-4 off what both networks give in float64; its mean is not.
    bound = {"rosinality": 1e-4, "ada": 3e-4}[model.name]
    np.testing.assert_allclose(jnp.square(gradient).sum((1, 2, 3)), arrays["r1_per_sample"], rtol=bound)
    np.testing.assert_allclose(jnp.square(gradient).sum() / 4, arrays["r1"][0], rtol=1e-4)
    expected = nhwc(arrays["grad_x"])  # single pixels flip a leaky ReLU: the reference's own noise is 8e-4
    assert np.linalg.norm(gradient - expected) <= 5e-3 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["r1", "logistic"])
def test_gradients_with_respect_to_the_parameters(model, loss):
    if model.name == "ada":
        pytest.skip("its golden file has no gradients of parameters")
    arrays, params = model.arrays_d, model.trees["params_d"]
    images = nhwc(arrays["images"])

    def r1(params):
        return jnp.square(jax.grad(lambda x: model.judge(params, x).sum())(images)).sum() / len(images)

    def logistic(params):
        return jax.nn.softplus(-model.judge(params, images)).mean()

    gradient = jax.grad({"r1": r1, "logistic": logistic}[loss])(params)
    norms = {
        path: np.linalg.norm(leaf)
        for path, leaf in flax.traverse_util.flatten_dict({"params_d": gradient}, sep="/").items()
    }
    path_of = {key: path for path, (key, _) in rosinality.discriminator(32).items()}
    ours = [norms[path_of[key]] for key in golden.param_order("rosinality_d32")]
    # A parameter that R1 does not depend on, such as the last bias, has a gradient of 0.
    np.testing.assert_allclose(ours, arrays[f"{loss}_param_grad_norm"], rtol=1e-4, atol=1e-12)
