"""Supervised descent: corrects position maps by image features at the places that the maps point to.

Xiong and De la Torre, "Supervised Descent Method and Its Applications to Face Alignment", 2013. The position map
unwraps the face onto the UV square. Where the map is right, eyes, lips and jaw have the same places there on every
face; an error of the map displaces them and changes the edges around them. A stage is a linear map from histograms of
these edges (Dalal and Triggs 2005) to a correction, fitted by least squares on rendered faces
(`training.networks.descent`); each stage is fitted to the error that the stages before it leave.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.face3d import geometry, texture
from sdgan_jax.face3d.layout import Layout

_DIRECTIONS = 8  # of edges, dark to light, evenly around
_CELL = 2  # texels along a histogram's side
_NEIGHBOURHOOD = 8  # texels over which edges are normalised, so that the strength of the light cancels
_COLOUR_CELL, _PLACE_CELL = 4, 8  # texels over which colours and places are averaged
_FAINTEST = 0.02  # mean edge of a plain neighbourhood, in brightness from -1 to 1 per texel
_PLAIN = 0.04  # standard deviation of the colours of a face of one colour
_OUTERMOST = 4.0  # standard deviations to which features are clipped


@flax.struct.dataclass
class Stage:
    """A linear map from features to the correction of a position map.

    Attributes:
        mean: f32[D], mean of each feature.
        deviation: f32[D], standard deviation of each feature.
        weights: f32[D+1,K], from standardised features and a constant to coefficients.
        basis: f32[K,S,S,3], corrections in sides of the image; 0 off the face.
    """

    mean: jax.Array
    deviation: jax.Array
    weights: jax.Array
    basis: jax.Array


def correct(image: jax.Array, position_map: jax.Array, stage: Stage, layout: Layout) -> jax.Array:
    """Corrects a position map by one stage, averaged with the mirrored image (test-time augmentation).

    Args:
        image: f32[R,R,3] in [-1,1].
        position_map: f32[S,S,3] in pixels of the image.
        stage: fitted on maps of S texels of this layout.
        layout: the layout of the map; its own mirror image.

    Returns:
        f32[S,S,3], the corrected map.
    """
    width = image.shape[1]
    straight = _correct(image, position_map, stage, layout)
    mirrored = _correct(image[:, ::-1], geometry.mirror(position_map, width), stage, layout)
    return (straight + geometry.mirror(mirrored, width)) / 2


def _correct(image: jax.Array, position_map: jax.Array, stage: Stage, layout: Layout) -> jax.Array:
    """Corrects a position map by the stage's answer for the image alone."""
    features = standardise(describe(image, position_map, layout), stage.mean, stage.deviation)
    coefficients = jnp.matmul(features, stage.weights, precision="highest")
    return position_map + image.shape[0] * jnp.tensordot(coefficients, stage.basis, 1, precision="highest")


def describe(image: jax.Array, position_map: jax.Array, layout: Layout) -> jax.Array:
    """Computes the features of an image under a position map; arguments as of `correct`.

    Returns:
        f32[D]: for each cell of the face the increase of brightness towards each of 8 directions, as a share of all
        edges around it; then the colours and the places of coarser cells of the whole square.
    """
    colours = texture.unwrap(image, position_map)  # [S,S,3]
    down, right = jnp.gradient(colours.mean(-1))
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    edges = jnp.maximum(right[..., None] * np.cos(angles) + down[..., None] * np.sin(angles), 0.0)  # [S,S,8]
    strength = jnp.sqrt(jnp.square(edges).sum(-1, keepdims=True))
    about = jax.image.resize(texture.average(strength, _NEIGHBOURHOOD), strength.shape, "linear") + _FAINTEST
    histograms = texture.average(edges / about, _CELL)[_face_cells(layout)]
    colours = texture.average(colours, _COLOUR_CELL)
    colours = (colours - colours.mean((0, 1))) / (colours.std((0, 1)) + _PLAIN)
    places = texture.average(position_map / image.shape[0], _PLACE_CELL)
    return jnp.concatenate([part.reshape(-1) for part in (histograms, colours, places)])


def standardise(features: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """Standardises and clips features f32[D], and appends a 1: f32[D+1]."""
    unit = jnp.clip((features - mean) / deviation, -_OUTERMOST, _OUTERMOST)
    return jnp.append(unit, 1.0)


def shapes(layout: Layout, components: int) -> Stage:
    """Returns the shapes of a stage's arrays, as `jax.eval_shape` gives them.

    Raises:
        ValueError: the side of the maps is no multiple of 8 texels.
    """
    size = len(layout.face)
    if size % _PLACE_CELL:
        raise ValueError(f"maps of {size} texels along a side cannot be corrected; it must be a multiple of 8")
    square = jax.ShapeDtypeStruct((size, size, 3), jnp.float32)
    (length,) = jax.eval_shape(lambda image, maps: describe(image, maps, layout), square, square).shape
    whole = (length,), (length,), (length + 1, components), (components, size, size, 3)
    return jax.eval_shape(lambda: Stage(*map(jnp.zeros, whole)))


def _face_cells(layout: Layout) -> np.ndarray:
    """Returns the cells of which at least half belongs to the face, bool[S/2,S/2]."""
    cells = len(layout.face) // _CELL
    return np.asarray(layout.face).reshape(cells, _CELL, cells, _CELL).mean((1, 3)) >= 0.5
