"""The loss terms: pure functions of arrays, each a scalar averaged over the batch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def adversarial(logits: jax.Array, real: bool) -> jax.Array:
    """Binary cross-entropy with logits f32[N] against "real" or "fake".

    Against "real" for G this is the non-saturating logistic loss softplus(-logit) (Goodfellow et al. 2014).
    """
    return jax.nn.softplus(-logits if real else logits).mean()


def attribute(logits: jax.Array, attributes: jax.Array, kind: str) -> jax.Array:
    """How far the attribute logits are from the attributes worn.

    Args:
        logits: f32[N,A].
        attributes: f32[N,A] multi-hot, column 0 = none.
        kind: "softmax": cross-entropy against the attributes as a distribution; "sigmoid": mean binary cross-entropy
            of each attribute, for faces that wear several.

    Returns:
        f32 scalar.
    """
    if kind == "softmax":
        target = attributes / attributes.sum(-1, keepdims=True)
        return -(target * jax.nn.log_softmax(logits)).sum(-1).mean()
    return (jax.nn.softplus(logits) - logits * attributes).mean()


def identity(a: jax.Array, b: jax.Array) -> jax.Array:
    """Negative cosine along the last axis: of identity embeddings f32[N,D], or of images f32[N,H,W,3] pixel by pixel.

    The pseudo-code of SD-GAN applies `CosineSimilarity()`, whose axis is the channels, to the images themselves.
    """
    norms = jnp.sqrt(jnp.square(a).sum(-1) * jnp.square(b).sum(-1) + 1e-8)
    return -((a * b).sum(-1) / norms).mean()


def reconstruction(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean absolute difference (L1)."""
    return jnp.abs(a - b).mean()


def r1(discriminate: Callable[[jax.Array], jax.Array], images: jax.Array) -> jax.Array:
    """Squared length of the gradient of D's logit at real images (Mescheder et al. 2018), without gamma / 2.

    Args:
        discriminate: images f32[N,R,R,3] to logits f32[N].
        images: real images.

    Returns:
        f32 scalar, the mean over samples.
    """
    gradient = jax.grad(lambda x: discriminate(x).sum())(images)
    return jnp.square(gradient).sum((1, 2, 3)).mean()
