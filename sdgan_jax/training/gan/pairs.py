"""Pairs of faces, one of which wears an attribute, for the estimator `paired` of the basis.

Rendered data give true pairs: the renderer draws the same face without its attribute. On faces of any other data set
the attribute is drawn in 3D by their position maps (`face3d.attire.wear`), so no label is needed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.config import Config
from sdgan_jax.data import rendered, stream
from sdgan_jax.data.batches import map_batches
from sdgan_jax.face3d.attire import styles, wear
from sdgan_jax.pretrained import PositionNetwork
from tfds_megn import names

_CHUNK = 1000  # faces that are in memory together
_BATCH = 32


class Pairs(NamedTuple):
    """Pairs of faces.

    Attributes:
        attired: u8[N,R,R,3], faces with an attribute.
        plain: u8[N,R,R,3], the same faces without it.
        labels: i32[N], the attributes, ids of the config.
    """

    attired: np.ndarray
    plain: np.ndarray
    labels: np.ndarray


def is_rendered(config: Config) -> bool:
    """Returns whether the data set of a config is rendered, so that true pairs exist."""
    name = names.parse(config.dataset)
    return name is not None and name.source == names.RENDERED


def rendered_pairs(config: Config, count: int) -> Iterator[Pairs]:
    """Yields the first training faces that wear an attribute of the config, each with its face without it.

    Args:
        config: `dataset`, `data_dir` and `attributes` are used.
        count: number of faces of the data set that are read; a part of them wears nothing and makes no pair.

    Yields:
        The pairs in parts.

    Raises:
        OSError: the data cannot be prepared.
    """
    ids = np.array([config.attributes.index(n) if n in config.attributes else 0 for n in tfds_megn.ATTRIBUTES])
    for faces in rendered.read_parts(config.dataset, "train", config.data_dir, count, _CHUNK):
        labels = ids[faces.labels].astype(np.int32)
        chosen = faces.take(np.flatnonzero(labels))
        if len(chosen.labels):
            yield Pairs(chosen.images, rendered.bare(chosen), labels[labels > 0])


def worn_pairs(config: Config, count: int, position: PositionNetwork, labelled: bool) -> Iterator[Pairs]:
    """Yields the first training faces without an attribute, on each of which one attribute is drawn in a random style.

    Args:
        config: see `stream.train_iterator`. Its attributes are drawn, in turn.
        count: number of pairs; fewer where the data set has fewer faces.
        position: finds the position maps; the faces must be aligned as those that it was trained on.
        labelled: whether the data set has labels; without them all faces count as faces without an attribute.

    Yields:
        The pairs in parts.

    Raises:
        ValueError, FileNotFoundError: see `stream.train_iterator`.
    """
    readable = config if labelled else dataclasses.replace(config, attributes=("none",))
    plain = (batch["image"] for batch in stream.in_order(readable, "train") if batch["attributes"][0, 0])
    locate = jax.jit(position)
    done = 0
    with tqdm.tqdm(total=count, desc="Drawing attributes", unit="face", mininterval=0.5) as bar:
        while some := list(itertools.islice(plain, min(_CHUNK, count - done))):
            images = np.concatenate(some)
            maps = map_batches(lambda faces: np.asarray(locate(pictures.to_float(faces))), images, size=_BATCH)
            labels = 1 + np.arange(done, done + len(images), dtype=np.int32) % (config.num_attributes - 1)
            attired = np.empty_like(images)
            for i, label in enumerate(labels):
                name = config.attributes[label]
                face, style = jnp.asarray(pictures.to_float(images[i])), styles.random_style(name, done + i)
                drawn, _ = wear.wear(face, jnp.asarray(maps[i]), name, style, position.uv_layout)
                attired[i] = pictures.to_uint8(np.asarray(drawn))
                bar.update()
            done += len(images)
            yield Pairs(attired, images, labels)
