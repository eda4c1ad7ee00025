"""Faces of noise, by which persons can be told apart without the renderer."""

import numpy as np

from sdgan_jax.data.rendered import Faces


def make_faces(persons, photos=3):
    """Noise: a person is a pattern, a photograph a little of another; labels go from 0 to 2."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (persons, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    images = np.concatenate([0.7 * patterns + 0.3 * rng.integers(0, 256, patterns.shape) for _ in range(photos)])
    identities = np.tile(10 + np.arange(persons, dtype=np.int32), photos)
    labels = np.repeat(np.arange(photos, dtype=np.int32), persons)
    return Faces(images.astype(np.uint8), labels, identities, np.zeros((len(images), 2), np.float32))
