"""LPIPS against scipy and numpy, and against the package lpips."""

import jax
import numpy as np
import pytest

from sdgan_jax.importers import lpips as importer
from sdgan_jax.nets import lpips
from tests.importers import metric_states
from tests.importers.metric_states import ALEX, VGG
from tests.nets import torch_packages
from tests.nets.scipy_convolutions import convolve
from tests.random_arrays import distance, noise

WIDTHS = (3, 4, 5, 4, 3)
COUNTS = {VGG: (2, 2, 3, 3, 3), ALEX: (1, 1, 1, 1, 1)}


def pool(x, size):
    """The maxima of windows at a stride of 2."""
    rows, columns = ((length - size) // 2 + 1 for length in x.shape[1:3])
    return np.stack(
        [
            np.stack([x[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size].max((1, 2)) for j in range(columns)], 1)
            for i in range(rows)
        ],
        1,
    )


def reference(layers, state, heads, a, b):
    """LPIPS in float64 from its paper and the documentation of the trunks."""
    features, numbers = [(x - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450] for x in (a, b)], iter(layers)
    total = 0
    for group, count in enumerate(COUNTS[layers]):
        for _ in range(count):
            number = next(numbers)
            kernel = state[f"features.{number}.weight"].transpose(2, 3, 1, 0)
            if layers == VGG:
                features = [pool(x, 2) if number in (5, 10, 17, 24) else x for x in features]
            else:
                features = [pool(x, 3) if number in (3, 6) else x for x in features]
            made = [convolve(x, kernel) for x in features]
            if kernel.shape[0] == 11:  # stride 4 and padding 2, of which `convolve` has 1 and 5
                made = [x[:, 3:-3:4, 3:-3:4] for x in made]
            features = [np.maximum(x + state[f"features.{number}.bias"], 0) for x in made]
        first, second = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in features)
        total = total + ((first - second) ** 2 @ heads[f"lin{group}.model.1.weight"][0, :, 0, 0]).mean((1, 2))
    return total


@pytest.mark.parametrize(("layers", "size"), [(VGG, (16, 17)), (ALEX, (35, 33))])
def test_the_distance_is_that_of_the_paper(layers, size):
    state, heads = metric_states.trunk(layers, WIDTHS), metric_states.heads(WIDTHS)
    settings, variables = importer.variables_of(state, heads)
    net = lpips.Lpips(**settings)
    a, b = 0.5 * noise(2, *size, 3), 0.5 * noise(2, *size, 3, seed=1)
    distances = jax.jit(net.apply)(variables, a, b)
    np.testing.assert_allclose(distances, reference(layers, state, heads, a, b), rtol=1e-5)


def test_equal_images_have_no_distance_and_a_derivative():
    """Also where all features are zero, whose length has no derivative."""
    state = {key: -np.abs(array) for key, array in metric_states.trunk(VGG, WIDTHS).items()}
    settings, variables = importer.variables_of(state, metric_states.heads(WIDTHS))
    net, image = lpips.Lpips(**settings), np.ones((1, 16, 16, 3), np.float32)
    value, gradient = jax.jit(jax.value_and_grad(lambda a: net.apply(variables, a, image).sum()))(image)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(image))


@pytest.mark.parametrize(("trunk", "least"), [("vgg16", 16), ("alexnet", 31)])
def test_the_least_size_leaves_a_pixel_and_smaller_ones_are_refused(trunk, least):
    net = lpips.Lpips(trunk, WIDTHS)
    for size, match in ((least, None), (least - 1, f"of at least {least} pixels; got .1, {least - 1}")):
        images = jax.ShapeDtypeStruct((1, size, size, 3), "float32")
        if match:
            with pytest.raises(ValueError, match=match):
                jax.eval_shape(net.init, jax.random.key(0), images, images)
        else:
            assert jax.eval_shape(net.init_with_output, jax.random.key(0), images, images)[0].shape == (1,)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "name", "trunk"), [(VGG, "vgg", "vgg16"), (ALEX, "alex", "alexnet")])
def test_distances_are_those_of_the_package(layers, name, trunk):
    """Random trunks of full width, with the trained heads of the package."""
    torch = torch_packages.load("lpips")
    import lpips as package

    model = package.LPIPS(net=name, pnet_rand=True, verbose=False)
    state = metric_states.trunk(layers, lpips.WIDTHS[trunk])
    theirs = {key: value for key, value in model.net.state_dict().items()}
    places = {key.split(".", 1)[1]: key for key in theirs}  # slice2.5.weight is features.5.weight
    for key, array in state.items():
        if key.startswith("features."):
            theirs[places[key.removeprefix("features.")]] = torch.as_tensor(array)
    model.net.load_state_dict(theirs)
    heads = {f"lin{i}.model.1.weight": layer.model[1].weight.detach().numpy() for i, layer in enumerate(model.lins)}
    settings, variables = importer.variables_of(state, heads)
    a, b = np.tanh(noise(2, 64, 64, 3)), np.tanh(noise(2, 64, 64, 3, seed=1))
    with torch.no_grad():
        expected = model(*(torch.as_tensor(x.transpose(0, 3, 1, 2).copy()) for x in (a, b)))
    assert distance(jax.jit(lpips.Lpips(**settings).apply)(variables, a, b), expected.numpy().reshape(-1)) < 1e-5
