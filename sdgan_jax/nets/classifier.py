"""Attribute classifier: a small residual network whose features also serve the metrics."""

from __future__ import annotations

import flax.linen as nn
import jax

from sdgan_jax.nets import resample

FEATURE_DIM = 128
NUM_CLASSES = 6  # none and the five attributes
_GROUPS = 8  # groups of channels that are normalised together


class Classifier(nn.Module):
    """Residual network from an image to attribute logits and a feature vector.

    2×2 pixels are folded into channels, for a 3×3 convolution at half the resolution; then stages that each halve
    the resolution by folding again and a 1×1 convolution, and add two 3×3 convolutions to it (one in the last, at
    4×4). At resolution r there are 512 / r channels (8 to 64), so every stage costs about the same and a large image
    needs only a few stages more. Group normalisation: no state, the same result in any batch.

    Works at any power of two from 8 px; `training.networks.classifier` trains it at 32 to 256 px.
    """

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Classifies images.

        Args:
            images: f32[N,R,R,3] in [-1, 1], R a power of two, at least 8.

        Returns:
            logits f32[N,6] in the order of the attributes, `none` first; features f32[N,128], each vector
            with mean 0 and variance 1 over its entries, so |features|² = 128 and distances are at most 2
            √128 = 22.6.

        Raises:
            ValueError: the images have another shape.
        """
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise ValueError(f"images must be [N,R,R,3], got {list(images.shape)}")
        resolution = images.shape[1]
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"the classifier needs a power of two of at least 8 px, got {resolution}")
        resolution //= 2
        x = nn.relu(nn.Conv(_channels(resolution), (3, 3))(resample.space_to_depth(images)))  # [N,R/2,R/2,C]
        x = _residual(x, convolutions=2 if resolution > 4 else 1)
        while resolution > 4:
            resolution //= 2
            x = nn.Dense(_channels(resolution))(resample.space_to_depth(x))  # [N,r,r,C]
            x = _residual(x, convolutions=2 if resolution > 4 else 1)
        x = nn.relu(nn.GroupNorm(_GROUPS)(x))
        x = nn.Dense(FEATURE_DIM)(x.reshape(x.shape[0], -1))  # keeps places, which tell a beard from a mask
        features = nn.LayerNorm(use_bias=False, use_scale=False)(x)
        return nn.Dense(NUM_CLASSES)(features), features


def _channels(resolution: int) -> int:
    """Returns the number of channels at a resolution."""
    return min(64, max(8, 512 // resolution))


def _residual(x: jax.Array, convolutions: int) -> jax.Array:
    """Adds to x f32[N,R,R,C] the output of so many blocks of normalisation, ReLU and convolution."""
    y = x
    for _ in range(convolutions):
        y = nn.relu(nn.GroupNorm(_GROUPS)(y))
        y = nn.Conv(x.shape[-1], (3, 3), use_bias=False)(y)
    return x + y
