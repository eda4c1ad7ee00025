"""SD-GAN in JAX: faces with discrete attributes by semantic decomposition (arXiv 2207.05300).

    import sdgan_jax
    model = sdgan_jax.load("DIR")
    images = model.generate(z, attribute="mask")

Axes: N samples, H and W rows and columns of an image, R = H = W, C channels, L synthesis layers, D latent dimensions,
A attributes (`none` first). Images are NHWC float32 in [-1,1]; uint8 only in `sdgan_jax.pictures`.
"""

from sdgan_jax.config import Config
from sdgan_jax.model import Model, load

__all__ = ["Config", "Model", "load"]
