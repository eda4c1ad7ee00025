"""Splits of the drawn faces, and their TFDS examples with PNG images."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from typing import Any

import numpy as np
import PIL.Image

from tfds_megn import names, varied
from tfds_megn.params import ATTRIBUTES, sample_params
from tfds_megn.render import render

NUM_IMAGES = 10_000  # the size of MEGN (arXiv 2207.05300)
MIN_IMAGES = 30
SPLITS = ("train", "validation", "test")
# One variant (pose, light, expression, background) per attribute: each identity has every attribute once.
VARIANTS_PER_IDENTITY = len(ATTRIBUTES)
SAMPLERS = {names.RENDERED: sample_params, names.NATURAL: varied.sample_natural, names.VARIED: varied.sample_params}
# Pixels in one task of a worker: large enough to hide its overhead, small enough for a steady progress bar.
_PIXELS_PER_TASK = 8 * 64 * 64


@dataclasses.dataclass(frozen=True)
class Face:
    """One image of the data set, not yet rendered.

    Attributes:
      identity: number of the identity.
      variant: number of the photograph of that identity: pose, light, expression, background.
      attribute: index in ATTRIBUTES.
    """

    identity: int
    variant: int
    attribute: int

    @property
    def id(self) -> str:
        """Name of the example, unique over all splits and equal at every resolution."""
        return f"{self.identity:06d}_{self.variant}_{ATTRIBUTES[self.attribute]}"


def check_num_images(num_images: int) -> None:
    """Raises ValueError for another type, and for too few images for every split to contain some."""
    if not isinstance(num_images, int):
        raise ValueError(f"num_images={num_images!r} is no int")
    if num_images < MIN_IMAGES:
        raise ValueError(f"num_images={num_images} is too few; at least {MIN_IMAGES} give every split some images")


def split_sizes(num_images: int) -> dict[str, int]:
    """Returns the number of images per split: 80/10/10, with the remainder in train."""
    tenth = round(num_images / 10)
    return {"train": num_images - 2 * tenth, "validation": tenth, "test": tenth}


def split_faces(split: str, num_images: int) -> list[Face]:
    """Returns the faces of one split, in the order in which they are stored.

    Identity numbers ending in 8 belong to validation, those ending in 9 to test, the others to train: an identity is
    in one split only, the same for any number of images. Each identity has one variant per attribute, so attributes
    are equally frequent in each split, except for the last identity, which may have fewer. The faces are sorted by a
    hash, so that neighbours in a file are different people.

    Args:
      split: 'train', 'validation' or 'test'.
      num_images: number of images in all splits together.

    Returns:
      `split_sizes(num_images)[split]` faces.
    """
    last_digits = {"train": range(8), "validation": (8,), "test": (9,)}[split]
    faces = []
    for index in range(split_sizes(num_images)[split]):
        number, variant = divmod(index, VARIANTS_PER_IDENTITY)
        tens, digit = divmod(number, len(last_digits))
        faces.append(Face(identity=10 * tens + last_digits[digit], variant=variant, attribute=variant))
    return sorted(faces, key=lambda face: hashlib.blake2b(face.id.encode(), digest_size=8).digest())


def render_tasks(faces: list[Face], size: int) -> list[tuple[tuple[Face, ...], int]]:
    """Cuts faces into tasks for `render_examples`; the result depends on the faces and the size only."""
    per_task = max(1, _PIXELS_PER_TASK // size**2)
    return [(tuple(faces[start : start + per_task]), size) for start in range(0, len(faces), per_task)]


def render_examples(task: tuple[tuple[Face, ...], int], source: str = names.RENDERED) -> list[dict[str, Any]]:
    """Renders faces.

    Args:
      task: the faces, and the height and width of the images in pixels.
      source: one of `names.DRAWN`.

    Returns:
      One TFDS example per face, its image encoded as PNG (bytes).
    """
    faces, size = task
    params = np.stack([SAMPLERS[source](face.identity, face.variant) for face in faces])  # [N,P]
    images = render(params, [face.attribute for face in faces], size)  # u8[N,H,W,3]
    return [
        {
            "image": encode_png(image),
            "label": face.attribute,
            "attributes": np.arange(1, len(ATTRIBUTES)) == face.attribute,
            "id": face.id,
            "identity": face.identity,
            "params": face_params,
        }
        for face, face_params, image in zip(faces, params, images, strict=True)
    ]


def encode_png(image: np.ndarray) -> bytes:
    """Returns u8[H,W,3] as PNG bytes."""
    buffer = io.BytesIO()
    # The fastest level: half the time of the default for a tenth more bytes.
    PIL.Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
