"""Measures how far the landmarks and the picture of a face are from those of a mean face."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.face3d.layout import Layout, mean_params

_FINE, _COARSE = 1 / 64, 6 / 64  # widths of the Gaussians for a texel and its neighbourhood, in sides of the UV square
_FAINTEST = 3.0  # added contrast, so that noise on plain areas does not count; in levels of 255


def shape_error(position_map: np.ndarray, layout: Layout) -> float:
    """Returns the RMS distance of the landmarks to a mean head's, in standard deviations of the latter.

    The landmarks are first moved onto the head's by the best similarity (Umeyama 1991).
    """
    ours, mean = (table[layout.landmark_texels].astype(np.float64) for table in (position_map, layout.head))
    ours, mean = ours - ours.mean(0), mean - mean.mean(0)
    u, size, vt = np.linalg.svd(mean.T @ ours)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = (size * flip).sum() / (np.square(ours).sum() + 1e-9)
    rest = scale * ours @ ((u * flip) @ vt).T - mean
    return float(np.sqrt(np.square(rest).sum() / np.square(mean).sum()))


def unlikeness(frame: np.ndarray, position_map: np.ndarray, layout: Layout) -> float:
    """Returns 1 - r, where r is the correlation of brows, eyes and nose in a frame u8[S,S,3] with a mean face's.

    The correlated values are differences in brightness to the neighbourhood, in units of the contrast there.
    """
    every = max(1, len(position_map) // 64)
    here = np.asarray(layout.face & layout.regions[..., :2].any(-1))[::every, ::every]
    at, mean, face = (part[::every, ::every] for part in (position_map, layout.head, np.asarray(layout.face)))
    head = mean_face()
    ours, theirs = (
        _relief(_unwrap(picture, places), face)[here]
        for picture, places in ((frame, at), (head, pictures.scale_positions(mean + 0.5, 0.5 * len(head))))
    )
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    return float(1.0 - (ours @ theirs) / np.sqrt((ours @ ours) * (theirs @ theirs) + 1e-6))


def _unwrap(picture: np.ndarray, position_map: np.ndarray) -> np.ndarray:
    """Returns the brightness f64[S,S] of a picture u8[H,W,3] at the nearest pixels; the outermost ones repeat."""
    j, i = (np.clip(np.round(position_map[..., k]).astype(int), 0, picture.shape[1 - k] - 1) for k in range(2))
    return picture[i, j].mean(-1)


def _relief(brightness: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Returns the brightness relative to the neighbourhood on the face, f64[S,S], in units of the local contrast."""
    places = np.arange(len(face))

    def smooth(values: np.ndarray, width: float) -> np.ndarray:
        kernel = np.exp(-0.5 * np.square((places[:, None] - places) / (width * len(face))))
        return (kernel @ (values * face) @ kernel) / np.maximum(kernel @ face @ kernel, 1e-6)

    detail = smooth(brightness, _FINE) - smooth(brightness, _COARSE)
    return detail / np.sqrt(smooth(np.square(detail), _COARSE) + _FAINTEST**2)


@lru_cache(maxsize=1)
def mean_face() -> np.ndarray:
    """Renders the face whose surface is `Layout.head` as u8[256,256,3]: from the front, as large as the picture."""
    return np.asarray(tfds_megn.render(mean_params(), "none", 256))
