"""Images on their way into a trained network: checked and resized."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def check_squares(images: jax.Array, name: str = "images") -> None:
    """Raises `ValueError` where images are no squares of three channels."""
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"{name} must be [N,R,R,3], got {list(images.shape)}")


def resize(images: jax.Array, size: int) -> jax.Array:
    """Images f32[N,H,W,3] at `size` × `size`, linear and antialiased."""
    if images.shape[1:3] == (size, size):
        return images
    return jax.image.resize(images, (len(images), size, size, 3), "linear", antialias=True)


def shrink(images: jax.Array, size: int) -> jax.Array:
    """Images f32[N,H,W,3] at `size` × `size` by area; an axis that is shorter stays."""
    rows, columns = (_areas(length, min(size, length)) for length in images.shape[1:3])
    return jnp.einsum("ih,nhwc,jw->nijc", rows, images, columns, precision="highest")


def _areas(length: int, size: int) -> np.ndarray:
    """What each of `size` pixels is the mean of, f32[size,length]: all that it touches, as PyTorch's `area` has it."""
    # In whole numbers, which divide without error.
    first, last = np.arange(size) * length // size, -(-np.arange(1, size + 1) * length // size)
    pixel = np.arange(length)
    touched = (first[:, None] <= pixel) & (pixel < last[:, None])
    return (touched / touched.sum(1, keepdims=True)).astype(np.float32)
