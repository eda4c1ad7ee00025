"""Loss terms: pure functions of arrays. Each returns a scalar averaged over the batch unless stated otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sdgan_jax.nets import resample


def adversarial_g(fake: jax.Array, kind: str) -> jax.Array:
    """Computes G's adversarial loss.

    Args:
        fake: f32[N], D's logits for generated images.
        kind: "logistic": softplus(-fake), the non-saturating loss, which is binary cross-entropy against "real"
            (Goodfellow et al. 2014); "hinge": -fake (Lim & Ye 2017).

    Returns:
        f32 scalar.
    """
    return -fake.mean() if kind == "hinge" else jax.nn.softplus(-fake).mean()


def adversarial_d(real: jax.Array, fake: jax.Array, kind: str) -> jax.Array:
    """Computes D's adversarial loss.

    Args:
        real: f32[N], D's logits for real images.
        fake: f32[N], D's logits for generated images.
        kind: "logistic": softplus(-real) + softplus(fake), binary cross-entropy; "hinge": max(0, 1 - real) +
            max(0, 1 + fake).

    Returns:
        f32 scalar.
    """
    if kind == "hinge":
        return jax.nn.relu(1.0 - real).mean() + jax.nn.relu(1.0 + fake).mean()
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


def attribute(logits: jax.Array, attributes: jax.Array, kind: str) -> jax.Array:
    """Computes the classification loss of D's attribute logits.

    Args:
        logits: f32[N,A].
        attributes: f32[N,A], multi-hot; column 0 is `none`.
        kind: "softmax": cross-entropy against the attributes, normalised to a distribution; "sigmoid": mean binary
            cross-entropy of each attribute, for faces with several attributes.

    Returns:
        f32 scalar.
    """
    if kind == "softmax":
        target = attributes / attributes.sum(-1, keepdims=True)
        return -(target * jax.nn.log_softmax(logits)).sum(-1).mean()
    return (jax.nn.softplus(logits) - logits * attributes).mean()


def identity(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the negative mean cosine similarity along the last axis.

    The pseudo-code of SD-GAN applies `CosineSimilarity()`, whose axis is the channels, to the images themselves.

    Args:
        a: identity embeddings f32[N,D], or images f32[N,H,W,3], compared pixel by pixel.
        b: array of the shape of `a`.

    Returns:
        f32 scalar in [-1,1].
    """
    norms = jnp.sqrt(jnp.square(a).sum(-1) * jnp.square(b).sum(-1) + 1e-8)
    return -((a * b).sum(-1) / norms).mean()


def arcface(
    embeddings: jax.Array, prototypes: jax.Array, identities: jax.Array, margin: float = 0.5, scale: float = 64.0
) -> jax.Array:
    """Computes the softmax cross-entropy over identities with an additive angular margin (Deng et al. 2019, ArcFace).

    The logits are scale · cos(theta), where theta is the angle between an embedding and a person's prototype. The logit
    of the true person is scale · cos(theta + margin). Beyond theta + margin = pi, where the cosine would rise again, it
    is scale · (cos(theta) - margin · sin(margin)), which falls. The derivative is finite at theta = 0 and pi.

    Args:
        embeddings: f32[N,E], unit vectors.
        prototypes: f32[C,E], one nonzero vector for each person.
        identities: i32[N] in [0,C).
        margin: angle in radians, in [0, pi/2).
        scale: factor of the logits.

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
    """Computes the mean absolute difference (L1) of two arrays of one shape."""
    return jnp.abs(a - b).mean()


def pyramid(a: jax.Array, b: jax.Array, error: Callable[[jax.Array], jax.Array] = jnp.abs) -> jax.Array:
    """Computes the difference of images, averaged over the scales of their pyramids: R, R/2, …, 4 pixels.

    Coarse scales compare pose and colour, which fine scales alone only notice where edges already overlap.

    Args:
        a: f32[N,R,R,3], R a power of two, at least 4.
        b: likewise.
        error: function of each difference whose mean is taken: its magnitude (L1), or `jnp.square`.

    Returns:
        f32[N].
    """
    errors = []
    while True:
        errors.append(error(a - b).mean((1, 2, 3)))
        if a.shape[1] <= 4:
            return jnp.stack(errors).mean(0)
        a, b = resample.box_downsample(a), resample.box_downsample(b)


def perceptual(a: Sequence[jax.Array], b: Sequence[jax.Array], weights: jax.Array | None = None) -> jax.Array:
    """Computes the distance of two images on features of a frozen network.

    The vectors of all positions are normalised to unit length, and their squared distances averaged over the positions
    and the layers: LPIPS (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric")
    with equal weights for all channels.

    Args:
        a: features f32[N,h,w,C] of each layer, such as of `pretrained.PerceptualNetwork`.
        b: likewise.
        weights: f32[N,R,R], positive weights of the places in the images, of any size R; None for equal weights.

    Returns:
        f32[N], from 0 to 4.
    """
    distances = [jnp.square(_unit(x) - _unit(y)).sum(-1) for x, y in zip(a, b, strict=True)]  # [N,h,w]
    if weights is None:
        return jnp.stack([d.mean((1, 2)) for d in distances]).mean(0)
    shares = [jax.image.resize(weights, d.shape, "linear", antialias=True) for d in distances]
    return jnp.stack([(s * d).sum((1, 2)) / s.sum((1, 2)) for s, d in zip(shares, distances, strict=True)]).mean(0)


def _unit(x: jax.Array) -> jax.Array:
    """Returns `x` with vectors of unit length along the last axis."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-8)


def r1(discriminate: Callable[..., jax.Array], *inputs: Any) -> jax.Array:
    """Computes R1, the squared norm of D's gradient at real images (Mescheder et al. 2018), without gamma / 2.

    Args:
        discriminate: the inputs to logits f32[N] or f32[N,K].
        *inputs: real images f32[N,R,R,3], and whatever else [N,...] D sees of them, in trees of arrays.

    Returns:
        f32 scalar, the mean over samples.
    """
    gradients = jax.grad(lambda seen: discriminate(*seen).sum())(inputs)
    norms = [jnp.square(gradient).reshape(len(gradient), -1).sum(1) for gradient in jax.tree.leaves(gradients)]
    return jnp.stack(norms).sum(0).mean()


def path_lengths(synthesize: Callable[[jax.Array], jax.Array], w_plus: jax.Array, noise: jax.Array) -> jax.Array:
    """Computes path lengths, the change of the image per change of the latent (Karras et al. 2020).

    A path length is the norm of J^T y, where J is the Jacobian of the image in w+ and y is noise divided by
    sqrt(height · width). The squared norm is summed over D and averaged over the layers.

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
