"""SD-GAN in JAX: faces with discrete attributes by semantic decomposition (arXiv 2207.05300).

    import sdgan_jax
    model = sdgan_jax.load("DIR")
    images = model.generate(z, attribute="mask")

Axes: N samples, H and W rows and columns of an image, R = H = W, C channels, L synthesis layers, D latent dimensions,
A attributes (`none` first). Images are NHWC float32 in [-1,1]; uint8 only in `sdgan_jax.pictures`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdgan_jax.config import Config
    from sdgan_jax.model import Model, load

__all__ = ["Config", "Model", "load"]

_HOMES = {"Config": "config", "Model": "model", "load": "model"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `face3d`, for example, needs no model."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
