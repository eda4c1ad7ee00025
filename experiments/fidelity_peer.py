"""The Inception of torch-fidelity that the benchmark measures beside this project; imported on request only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.importers import inception, layouts
from sdgan_jax.nets.inception import CLASSES, SIZE, Inception
from tfds_megn import workers

Features = Callable[[np.ndarray], np.ndarray]  # u8[N,H,W,3] to f32[N,2048]


def random_state(seed: int = 0) -> dict[str, np.ndarray]:
    """Returns a random state dict of Inception in the layout of the public files, float32."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    flat = layouts.shapes_of(jax.eval_shape(Inception().init, jax.random.key(0), images))
    rng = np.random.default_rng(seed)
    state = {"fc.bias": np.zeros(CLASSES, np.float32)}
    for path, (name, layout) in inception.table(flat).items():
        if path in flat and len(flat[path]) > 1:  # activations neither grow nor vanish
            scale = np.sqrt(2.0 / np.prod(flat[path][:-1]))
            state[name] = layout.write(scale * rng.standard_normal(flat[path], np.float32)).astype(np.float32)
        else:
            width = flat[f"params/{path.partition('/')[2].rpartition('/')[0]}/bias"]
            state[name] = (np.ones if name.endswith(("weight", "running_var")) else np.zeros)(width, np.float32)
    return state


def make_fidelity(state: dict[str, np.ndarray]) -> Features:
    """Returns torch-fidelity's extractor of Inception features, on the cores that this process may use.

    Args:
        state: its weights, see `random_state`.

    Raises:
        ValueError: the backend is not the CPU, or PyTorch or torch-fidelity is missing.
    """
    if jax.default_backend() != "cpu":
        raise ValueError("--metrics compares on CPU; start with JAX_PLATFORMS=cpu")
    try:
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"--metrics needs torch-fidelity ({error}): pip install torch torch-fidelity") from error
    torch.set_num_threads(workers.available_cores())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "inception.pth")
        torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=path)

    def features(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))[0].numpy()

    return features
