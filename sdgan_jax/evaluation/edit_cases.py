"""Cases of the edit benchmark: faces to edit in one way, and what they should look like afterwards.

The cases come from rendered test persons, whose true edits are known, or from labelled photos, whose are not.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import auto as tqdm

from sdgan_jax import latents
from sdgan_jax.data import rendered
from tfds_megn import photo_folder
from tfds_megn.listing import printable

SEEDS = 3  # parts of the test persons, each measured on its own
FEWEST = 2  # faces in a case


@dataclasses.dataclass(frozen=True)
class Case:
    """Faces to edit, all in one way.

    Attributes:
        attribute: the attribute that is put on or taken off.
        removes: whether it is taken off.
        sources: u8[N,R,R,3], the faces.
        truths: u8[N,R,R,3], the same faces after the edit; None where they are unknown.
        references: u8[M,R,R,3], real faces that look as after the edit, if possible of other persons.
    """

    attribute: str
    removes: bool
    sources: np.ndarray
    truths: np.ndarray | None
    references: np.ndarray

    @property
    def name(self) -> str:
        """The edit in one text: "mask" or "no mask"."""
        return f"no {self.attribute}" if self.removes else self.attribute

    @property
    def target(self) -> str:
        """The attribute that a classifier should see after the edit."""
        return "none" if self.removes else self.attribute

    def weights(self, names: Sequence[str]) -> np.ndarray:
        """Returns the weights f32[N,A] of the edit; see `latents.attribute_weights`."""
        added, removed = ("none", self.attribute) if self.removes else (self.attribute, None)
        return latents.attribute_weights(added, names, len(self.sources), removed)


def first_photographs(faces: rendered.Faces) -> np.ndarray:
    """Returns the row of each person's first photograph, i[P], in the order of the split."""
    return np.sort(np.unique(faces.identities, return_index=True)[1])


def rendered_cases(faces: rendered.Faces, names: Sequence[str], num_persons: int, size: int) -> list[list[Case]]:
    """Renders test persons without and with each attribute.

    Args:
        faces: a split of persons that no network was trained on; the first photograph of each person is used, in the
            order of the split.
        names: the attributes, `none` first.
        num_persons: number of persons in all, divided evenly among the seeds; fewer where the split has fewer.
        size: side of the images in pixels.

    Returns:
        For each of the seeds, whose persons differ, the cases that put an attribute on and then those that take one
        off. The references are the true edited faces of another seed's persons.

    Raises:
        ValueError: there are fewer than two persons for each seed.
    """
    rows = first_photographs(faces)
    count = min(num_persons, len(rows)) // SEEDS
    if count < FEWEST:
        source = "persons in the test split" if len(rows) < num_persons else "persons to edit (num_images)"
        fewer = min(num_persons, len(rows))
        raise ValueError(f"there are {fewer} {source}; at least {FEWEST * SEEDS} are needed, {FEWEST} for each seed")
    params = faces.params[rows[: count * SEEDS]]
    with tqdm.tqdm(total=len(params) * len(names), desc="True faces", unit="face", mininterval=0.5) as bar:
        looks = {name: rendered.render(params, [name] * len(params), size, bar.update) for name in names}
    cases = []
    for seed in range(SEEDS):
        own, other = (slice(part * count, (part + 1) * count) for part in (seed, (seed + 1) % SEEDS))
        plain = looks["none"][own]
        on = [Case(name, False, plain, looks[name][own], looks[name][other]) for name in names[1:]]
        off = [Case(name, True, looks[name][own], plain, looks["none"][other]) for name in names[1:]]
        cases.append(on + off)
    return cases


def photo_cases(folder: str | os.PathLike[str], names: Sequence[str], size: int) -> list[Case]:
    """Reads labelled photos; prints on stderr which files are left out, and how many photos are not used and why.

    Args:
        folder: photos in folders named by attribute or with a labels.csv, as `tfds_megn` takes them. Photos with
            several attributes are not used.
        names: the attributes, `none` first.
        size: side of the images in pixels, to which the central square of each photo is brought.

    Returns:
        A case for each attribute to put on photos labelled `none`, and to take off its own photos, where there are at
        least two. The references are the photos that are labelled as the edits should look.

    Raises:
        FileNotFoundError, ValueError: there is no photo, the labels cannot be read, or no case has two photos.
    """
    collection = photo_folder.scan(folder)
    tasks = [(photo, size) for photo in collection.photos]
    converted = {
        photo: photo_folder.convert_photo((photo, size))
        for photo, size in tqdm.tqdm(tasks, desc="Photos", unit="photo", mininterval=0.5)
    }
    unusable = [found.image for found in converted.values() if isinstance(found.image, str)]
    for line in (*collection.notes, *(f"skipped {line}" for line in (*collection.skipped, *unusable))):
        print(line, file=sys.stderr)
    by_name: dict[str, list[np.ndarray]] = {name: [] for name in names}
    unused: collections.Counter[str] = collections.Counter()
    for photo, found in converted.items():
        if not isinstance(found.image, bytes):
            continue
        if sum(photo.attributes) > 1:
            unused["with several attributes"] += 1
        elif photo.attribute not in by_name:
            unused[f"labelled {photo.attribute}, which the model does not know"] += 1
        else:
            by_name[photo.attribute].append(np.asarray(Image.open(io.BytesIO(found.image))))
    looks = {name: np.stack(images) for name, images in by_name.items() if len(images) >= FEWEST}
    for name, images in by_name.items():
        if images and name not in looks:
            unused[f"labelled {name}, of which {FEWEST} are needed"] = len(images)
    for reason, count in unused.items():
        print(f"photos not used, {reason}: {count}", file=sys.stderr)
    nothing = np.zeros((0, size, size, 3), np.uint8)
    cases = []
    if "none" in looks:
        cases += [Case(name, False, looks["none"], None, looks.get(name, nothing)) for name in names[1:]]
    cases += [Case(name, True, looks[name], None, looks.get("none", nothing)) for name in names[1:] if name in looks]
    if not cases:
        raise ValueError(
            f"--input={printable(folder)}: no label has {FEWEST} photos of its own; photos with several are not used"
        )
    return cases
