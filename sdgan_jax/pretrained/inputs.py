"""Checks and sizes of the input images of trained networks, inside compiled functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def check_squares(images: jax.Array, name: str = "images") -> None:
    """Raises `ValueError` if images are not [N,R,R,3]."""
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"{name} must be [N,R,R,3], got {list(images.shape)}")


def resize(images: jax.Array, size: int) -> jax.Array:
    """Resizes images f32[N,H,W,3] to `size` × `size` by linear interpolation with antialiasing."""
    if images.shape[1:3] == (size, size):
        return images
    return jax.image.resize(images, (len(images), size, size, 3), "linear", antialias=True)


def shrink(images: jax.Array, size: int) -> jax.Array:
    """Shrinks images f32[N,H,W,3] to `size` × `size` as PyTorch's mode `area` does; shorter axes stay as they are."""
    rows, columns = (_areas(length, min(size, length)) for length in images.shape[1:3])
    return jnp.einsum("ih,nhwc,jw->nijc", rows, images, columns, precision="highest")


def _areas(length: int, size: int) -> np.ndarray:
    """Returns f32[size,length], the weights that average all pixels which each of the `size` larger pixels touches."""
    # Integer arithmetic has no rounding errors.
    first, last = np.arange(size) * length // size, -(-np.arange(1, size + 1) * length // size)
    pixel = np.arange(length)
    touched = (first[:, None] <= pixel) & (pixel < last[:, None])
    return (touched / touched.sum(1, keepdims=True)).astype(np.float32)
