"""Networks whose features the metrics compare: our own classifier and identity network, or Inception."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sdgan_jax import losses, pictures, pretrained
from sdgan_jax.evaluation.extraction import FEATURES, LOGITS, Task
from sdgan_jax.evaluation.image_sources import Rows, Source
from sdgan_jax.evaluation.metric_names import CLASSIFIER, IDENTITY, INCEPTION, LPIPS, PERCEPTUAL
from sdgan_jax.metrics.conventions import CONVENTIONS
from sdgan_jax.pretrained import archive
from sdgan_jax.pretrained.archive import Tree

OWN = "sdgan-jax"  # name of the convention of our own features


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A function from images to features.

    Attributes:
        name: `INCEPTION`, `CLASSIFIER` or `IDENTITY`.
        convention: name of the convention of the images' preparation.
        ddof: covariances of the features are divided by N - ddof.
        variables: variables of the network.
        apply: function from the variables and f32[N,H,W,3], whole numbers from 0 to 255, to `FEATURES` f32[N,D] and,
            for Inception, `LOGITS` f32[N,1008]. Pure.
    """

    name: str
    convention: str
    ddof: int
    variables: Tree
    apply: Callable[[Tree, jax.Array], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceNetwork:
    """A distance of images, for PPL.

    Attributes:
        name: `LPIPS` or `PERCEPTUAL`.
        variables: variables of the network.
        apply: function from the variables and two batches f32[N,R,R,3] in [-1,1] to f32[N]. Pure.
    """

    name: str
    variables: Tree
    apply: Callable[[Tree, jax.Array, jax.Array], jax.Array]


def classifier_features(path: str = "") -> FeatureNetwork:
    """Returns the features of an attribute classifier; "" is the one that comes with the project."""
    network = pretrained.attribute_classifier(path)

    def apply(variables: Tree, pixels: jax.Array) -> dict[str, jax.Array]:
        return {FEATURES: dataclasses.replace(network, variables=variables)(_to_float(pixels))[1]}

    return FeatureNetwork(CLASSIFIER, OWN, 1, network.variables, apply)


def identity_features(path: str = "") -> FeatureNetwork:
    """Returns the embeddings of an identity network; "" is the one that comes with the project."""
    network = pretrained.identity_network(path)

    def apply(variables: Tree, pixels: jax.Array) -> dict[str, jax.Array]:
        return {FEATURES: dataclasses.replace(network, variables=variables)(_to_float(pixels))}

    return FeatureNetwork(IDENTITY, OWN, 1, network.variables, apply)


def inception_features(network: pretrained.InceptionNetwork, convention: str) -> FeatureNetwork:
    """Returns the features of Inception.

    Args:
        network: Inception.
        convention: name of one of `metrics.conventions.CONVENTIONS`.
    """
    rules = CONVENTIONS[convention]

    def apply(variables: Tree, pixels: jax.Array) -> dict[str, jax.Array]:
        features, logits = dataclasses.replace(network, variables=variables)(rules.prepare(pixels))
        return {FEATURES: features, LOGITS: logits}

    return FeatureNetwork(INCEPTION, convention, rules.ddof, network.variables, apply)


def perceptual_distance() -> DistanceNetwork:
    """Returns the distance on features of the position and identity networks that come with the project."""
    network = pretrained.perceptual_network()

    def apply(variables: tuple[Tree, Tree], a: jax.Array, b: jax.Array) -> jax.Array:
        features = dataclasses.replace(
            network,
            position=dataclasses.replace(network.position, variables=variables[0]),
            identity=dataclasses.replace(network.identity, variables=variables[1]),
        )
        return losses.perceptual(features(a), features(b))

    return DistanceNetwork(PERCEPTUAL, (network.position.variables, network.identity.variables), apply)


def lpips_distance(network: pretrained.LpipsNetwork) -> DistanceNetwork:
    """Returns the distance of LPIPS."""

    def apply(variables: Tree, a: jax.Array, b: jax.Array) -> jax.Array:
        return dataclasses.replace(network, variables=variables)(a, b)

    return DistanceNetwork(LPIPS, network.variables, apply)


def feature_task(source: Source, network: FeatureNetwork) -> Task:
    """Returns the task of computing the features of a set of images.

    Its function raises ValueError for images that are not square, unless the features are those of Inception.
    """

    def function(params: tuple[Tree, Tree], rows: Rows) -> dict[str, jax.Array]:
        pixels = source.draw(params[0], rows)
        height, width = pixels.shape[1:3]
        if network.name != INCEPTION and height != width:
            raise ValueError(
                f"{source.name}: the images are {width} x {height} pixels, and the features {network.name} are those "
                "of squares; cut the images, or use the features of Inception"
            )
        return network.apply(params[1], pixels)

    key = {
        "source": source.key,
        "features": network.name,
        "network": archive.fingerprint(network.variables),
        "convention": network.convention,
    }
    return Task(f"{network.name} of {source.name}", key, (source.params, network.variables), source.read, function)


def _to_float(pixels: jax.Array) -> jax.Array:
    """Scales whole numbers from 0 to 255 to [-1,1]; NaN stays NaN, which tells of a model that has diverged."""
    return jnp.where(jnp.isnan(pixels), jnp.nan, pictures.to_float(pixels.astype(jnp.uint8)))
