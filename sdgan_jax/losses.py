"""The loss terms: pure functions of arrays, each a scalar averaged over the batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp


def adversarial_g(fake: jax.Array, kind: str) -> jax.Array:
    """G's adversarial loss.

    Args:
        fake: D's logits f32[N] of generated images.
        kind: "logistic": softplus(-fake), the non-saturating loss, which is binary cross-entropy against "real"
            (Goodfellow et al. 2014); "hinge": -fake (Lim & Ye 2017).

    Returns:
        f32 scalar.
    """
    return -fake.mean() if kind == "hinge" else jax.nn.softplus(-fake).mean()


def adversarial_d(real: jax.Array, fake: jax.Array, kind: str) -> jax.Array:
    """D's adversarial loss.

    Args:
        real: D's logits f32[N] of real images.
        fake: D's logits f32[N] of generated images.
        kind: "logistic": softplus(-real) + softplus(fake), binary cross-entropy; "hinge": max(0, 1 - real) +
            max(0, 1 + fake).

    Returns:
        f32 scalar.
    """
    if kind == "hinge":
        return jax.nn.relu(1.0 - real).mean() + jax.nn.relu(1.0 + fake).mean()
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


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


def arcface(
    embeddings: jax.Array, prototypes: jax.Array, identities: jax.Array, margin: float = 0.5, scale: float = 64.0
) -> jax.Array:
    """Cross-entropy of who it is, the true person's angle made larger by a margin (Deng et al. 2019, ArcFace).

    The logits are scale · cos(theta), theta the angle of an embedding and a person's prototype; that of the true person
    is scale · cos(theta + margin). Beyond theta + margin = pi, where this would rise again, it goes on as
    cos(theta) - margin · sin(margin), which falls. The derivative is finite at theta = 0 and pi.

    Args:
        embeddings: f32[N,E], unit vectors.
        prototypes: f32[C,E], a vector for each person, of any length but 0.
        identities: i32[N] in [0,C).
        margin: in radians, in [0, pi/2).
        scale: of the logits.

    Returns:
        f32 scalar.
    """
    lengths = jnp.sqrt(jnp.square(prototypes).sum(-1, keepdims=True) + 1e-12)
    cosines = embeddings @ (prototypes / lengths).T  # [N,C]
    true = jnp.take_along_axis(cosines, identities[:, None], 1)  # [N,1]
    sine = jnp.sqrt(jnp.maximum((1.0 - true) * (1.0 + true), 1e-7))
    shifted = true * math.cos(margin) - sine * math.sin(margin)
    shifted = jnp.where(true > math.cos(math.pi - margin), shifted, true - margin * math.sin(margin))
    is_true = identities[:, None] == jnp.arange(prototypes.shape[0])  # [N,C]
    log_p = jax.nn.log_softmax(scale * jnp.where(is_true, shifted, cosines))
    return -jnp.where(is_true, log_p, 0.0).sum(-1).mean()


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


def path_lengths(synthesize: Callable[[jax.Array], jax.Array], w_plus: jax.Array, noise: jax.Array) -> jax.Array:
    """How far images move when the latent moves (Karras et al. 2020, path length regularisation).

    The length of J^T y, J the Jacobian of the image and y noise of unit expected length: the gradient of
    sum(image · y) in w+, squared, summed over D, averaged over the layers, under a root.

    Args:
        synthesize: w+ f32[N,L,D] to images f32[N,R,R,3].
        w_plus: f32[N,L,D].
        noise: standard normal f32[N,R,R,3].

    Returns:
        f32[N].
    """
    scale = 1.0 / math.sqrt(noise.shape[1] * noise.shape[2])
    gradient = jax.grad(lambda w: (synthesize(w) * noise).sum() * scale)(w_plus)
    return jnp.sqrt(jnp.square(gradient).sum(2).mean(1))
