"""Conventions of published FIDs: the image that Inception sees, and the divisor of the covariance.

All three read images as whole numbers from 0 to 255, bring them to 299 x 299 pixels, and scale them to [-1,1] by
(x - 128) / 128. They differ in the resize, which moves an FID by more than one decimal (Parmar et al. 2022, "On Aliased
Resizing and Surprising Subtleties in GAN Evaluation"), and in the divisor: N in place of N - 1 makes an FID of two sets
of N images smaller by a share of 1 / N at most, 2e-5 for 50,000 images. A result therefore names its convention.

`nvlabs` is the convention of StyleGAN2-ADA in PyTorch and of StyleGAN3. StyleGAN2 and EDM have the same resize and
divide by N - 1, as `torch-fidelity` does; StyleGAN2-ADA in TensorFlow divides by N for real images only.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

INCEPTION_SIZE = 299  # pixels
_CUBIC = -0.5  # parameter a of Pillow's bicubic filter


@dataclasses.dataclass(frozen=True)
class Convention:
    """Facts of an implementation of FID.

    Attributes:
        name: name in results.
        resize: "tensorflow" (bilinear as TensorFlow 1 does it: without half-pixel centres and without antialiasing) or
            "pillow" (Pillow's bicubic filter, which averages when it shrinks, on each channel in float, clipped to
            0 to 255).
        ddof: covariances are divided by N - ddof.
    """

    name: str
    resize: str
    ddof: int

    def prepare(self, pixels: jax.Array) -> jax.Array:
        """Returns the images f32[N,299,299,3] that Inception sees; `pixels` f32[N,H,W,3] are from 0 to 255."""
        weights = tensorflow_bilinear if self.resize == "tensorflow" else pillow_bicubic
        rows, columns = (weights(side, INCEPTION_SIZE) for side in pixels.shape[1:3])
        resized = jnp.einsum("jw,nhwc->nhjc", columns, pixels, precision="highest")
        resized = jnp.einsum("ih,nhjc->nijc", rows, resized, precision="highest")
        if self.resize == "pillow":
            resized = jnp.clip(resized, 0.0, 255.0)  # the cubic filter overshoots
        return (resized - 128.0) / 128.0


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("nvlabs", "tensorflow", ddof=0),
        Convention("torch-fidelity", "tensorflow", ddof=1),
        Convention("clean-fid", "pillow", ddof=1),
    )
}


@functools.cache
def tensorflow_bilinear(length: int, size: int) -> np.ndarray:
    """Returns f32[size,length], the weights of TensorFlow 1's `resize_bilinear` along an axis.

    The new pixel i lies at i · length / size between the pixels at both sides, and the last pixel is repeated.
    """
    scale = np.float32(length) / np.float32(size)  # TensorFlow computes places in float32
    places = np.arange(size, dtype=np.float32) * scale
    lower = np.minimum(places.astype(np.int64), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    share = places - lower.astype(np.float32)
    weights = np.zeros((size, length), np.float32)
    np.add.at(weights, (np.arange(size), lower), 1 - share)
    np.add.at(weights, (np.arange(size), upper), share)
    return weights


@functools.cache
def pillow_bicubic(length: int, size: int) -> np.ndarray:
    """Returns f32[size,length], the weights of Pillow's `Image.resize` with `BICUBIC` along an axis.

    The filter is as wide as four new pixels when it shrinks and four old ones when it enlarges, and its weights inside
    the image are scaled to the sum 1.
    """
    if length == size:
        return np.eye(size, dtype=np.float32)  # Pillow copies the image
    scale = length / size
    stretch = max(scale, 1.0)
    weights = np.zeros((size, length))
    for i in range(size):
        centre = (i + 0.5) * scale
        first = max(math.floor(centre - 2 * stretch + 0.5), 0)
        last = min(math.floor(centre + 2 * stretch + 0.5), length)
        values = _cubic((np.arange(first, last) - centre + 0.5) / stretch)
        weights[i, first:last] = values / values.sum()
    return weights.astype(np.float32)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Returns the cubic convolution kernel (Keys 1981) at f64[N]."""
    x = np.abs(x)
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _CUBIC
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
