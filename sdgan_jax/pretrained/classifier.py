"""Attribute classifiers: the attribute of a face, and features that the metrics compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

import tfds_megn
from sdgan_jax.nets.classifier import Classifier
from sdgan_jax.pretrained import inputs, storage
from sdgan_jax.pretrained.archive import Tree


@dataclasses.dataclass(frozen=True, eq=False)
class AttributeClassifier:
    """Attributes and features of faces. Pure: its caller compiles it.

    Attributes:
        net: the network.
        variables: its `params`.
        resolution: side of the network's input in pixels.
        held_out_accuracy: its accuracy on rendered faces of held-out persons.
        held_out_images: number of these faces.
    """

    net: Classifier
    variables: Tree
    resolution: int
    held_out_accuracy: float
    held_out_images: int

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Classifies images.

        Args:
            images: f32[N,R,R,3] in [-1,1], of any size R.

        Returns:
            logits f32[N,6] in the order of `tfds_megn.ATTRIBUTES`, features f32[N,128].

        Raises:
            ValueError: the images are not [N,R,R,3].
        """
        inputs.check_squares(images)
        logits, features = self.net.apply(self.variables, inputs.resize(images, self.resolution))
        return jnp.asarray(logits), jnp.asarray(features)


def attribute_classifier(path: epath.PathLike = "") -> AttributeClassifier:
    """Reads an attribute classifier.

    Args:
        path: a network directory; "" for the one that comes with the project.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the directory contains no network.
        ValueError: the network is of another kind or damaged, or its weights do not fit its settings.
    """
    net = Classifier()

    def shapes(settings: dict[str, Any]) -> Tree:
        storage.check_sizes(settings, resolution=1024, held_out_images=1 << 31)
        if not 0 <= settings["held_out_accuracy"] <= 1:
            raise ValueError("held_out_accuracy must be from 0 to 1")
        images = jax.ShapeDtypeStruct((1, settings["resolution"], settings["resolution"], 3), jnp.float32)
        return jax.eval_shape(net.init, jax.random.key(0), images)

    settings, variables = storage.read(path or storage.SHIPPED / "classifier64", "classifier", shapes)
    return AttributeClassifier(
        net, variables, settings["resolution"], settings["held_out_accuracy"], settings["held_out_images"]
    )


def attribute_refusal(names: Sequence[str]) -> str:
    """Says why models with these attributes cannot be measured by the attribute classifier; "" where they can."""
    if unknown := [name for name in names if name not in tfds_megn.ATTRIBUTES]:
        known = ", ".join(tfds_megn.ATTRIBUTES)
        return f"the attribute classifier does not know {', '.join(unknown)}; it knows {known}"
    return "the attribute classifier compares attributes, and the model has none" if len(names) < 2 else ""
