"""Edited faces pasted into photos at the photos' own size: what the edit changes, with soft edges and matched colours.

The mask is where the generator's picture of the edited latent differs from its picture of the unedited one (see
`blending`), and fades out towards the edge of the face's crop. Pixels outside of it keep their values.
"""

from __future__ import annotations

import numpy as np

from sdgan_jax import blending, pictures
from sdgan_jax.face3d import alignment
from sdgan_jax.face3d.face_crop import Crop

_FADE = (0.01, 0.1)  # distances from the crop's edge, in sides, from which the mask rises and where it is full
_LEAST = 1 / 255  # smallest share of the mask that counts


def paste(
    image: np.ndarray, crop: Crop, before: np.ndarray, plain: np.ndarray, edited: np.ndarray, region: np.ndarray
) -> np.ndarray:
    """Pastes an edited face into its photo.

    Args:
        image: u8[H,W,3], the photo.
        crop: the face's crop.
        before: f32[R,R,3] in [-1,1], the crop cut out of the photo.
        plain: f32[R,R,3], G's picture of the face's latent.
        edited: f32[R,R,3], G's picture of the edited latent.
        region: f32[R,R] in [0,1], where the edit changes it, see `blending.region_of_all`.

    Returns:
        u8[H,W,3]; the pixels outside of the crop, and where the edit changes nothing, are those of the photo.
    """
    out, share = image.copy(), mask(region)
    rows, columns = np.flatnonzero(share.any(1)), np.flatnonzero(share.any(0))
    if not len(rows):
        return out
    correction = np.asarray(blending.colour_correction(before[None], plain[None], share[None]))[0]
    face = np.clip(edited + correction, -1.0, 1.0)
    planes = np.dstack([face, share]).astype(np.float32)
    # The corners of the mask's box, a pixel wider for the interpolation.
    x, y = (np.array([low - 1.5, high + 1.5]) for low, high in ((columns[0], columns[-1]), (rows[0], rows[-1])))
    box = np.array([[x[0], y[0], 0.0], [x[1], y[0], 0.0], [x[1], y[1], 0.0], [x[0], y[1], 0.0]])
    corners = alignment.from_square(box, crop.square, len(share), crop.degrees)[:, :2]
    height, width = image.shape[:2]
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (width, height))
    for first in range(top, bottom, alignment.STRIP):
        last = min(first + alignment.STRIP, bottom)
        if right > left:
            restored = alignment.put_back(planes, *crop, left, first, right - left, last - first)
            _blend(out[first:last, left:right], restored)
    return out


def mask(region: np.ndarray) -> np.ndarray:
    """Returns the share f32[R,R] in [0,1] of the edited face in each pixel of its crop: `region`, 0 at the edge."""
    inside = 0.5 - np.abs((np.arange(len(region)) + 0.5) / len(region) - 0.5)
    t = np.clip((np.minimum(inside[:, None], inside) - _FADE[0]) / (_FADE[1] - _FADE[0]), 0.0, 1.0)
    return np.asarray(region * t * t * (3.0 - 2.0 * t), np.float32)


def _blend(part: np.ndarray, planes: np.ndarray) -> None:
    """Lays a face over a part u8[h,w,3] of a photo, in place: planes f32[h,w,4] are its colours and the mask."""
    share = np.clip(planes[..., 3], 0.0, 1.0)
    touched = share > _LEAST
    below, share = pictures.to_float(part[touched]), share[touched][:, None]
    part[touched] = pictures.to_uint8((1.0 - share) * below + share * planes[touched][:, :3])
