"""Division of photos into train, validation and test; near-duplicates stay together."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterator, Mapping

from etils import epath

from tfds_megn import near_duplicates, photo_folder, rendered, workers
from tfds_megn.photo_folder import Converted, Photo

TABLE = "splits.csv"
_MIN_IMAGES = len(rendered.SPLITS)
_SMALL = 16  # pixels of images that are converted for their hashes alone


def group_by_look(usable: Mapping[Photo, Converted]) -> list[list[Photo]]:
    """Returns groups of photos that show the same image or near-duplicates of it, sorted by their first hash."""
    same = photo_folder.group_by_pixels(usable)
    firsts = near_duplicates.group([usable[group[0]].look for group in same])
    groups: dict[int, list[Photo]] = {}
    for first, members in zip(firsts, same, strict=True):
        groups.setdefault(first, []).extend(members)
    return list(groups.values())


def split_photos(usable: Mapping[Photo, Converted]) -> dict[str, list[list[Photo]]]:
    """Divides photos into train, validation and test, 80/10/10, by a hash of their pixels.

    Files that show the same image, byte copies or not, and near-duplicates of it are in one split, the same at every
    resolution. Adding a photo moves no photo but near-duplicates of it, except in a collection so small that a split
    would be empty: an empty split takes an image from the largest one.

    Args:
      usable: the photos that could be read.

    Returns:
      The photos of each split as groups of near-duplicates, sorted by their first hash; no split is empty.

    Raises:
      ValueError: there are fewer than 3 different images.
    """
    splits: dict[str, list[list[Photo]]] = {split: [] for split in rendered.SPLITS}
    groups = group_by_look(usable)
    if len(groups) < _MIN_IMAGES:
        raise ValueError(
            f"{len(usable)} usable photos ({len(groups)} different images) cannot fill train, validation and test; "
            f"at least {_MIN_IMAGES} different ones are needed"
        )
    for group in groups:
        tenth = usable[group[0]].pixels * 10 >> 64
        splits[{8: "validation", 9: "test"}.get(tenth, "train")].append(group)
    for members in splits.values():
        if not members:
            largest = max(splits.values(), key=len)
            smallest_group = min(reversed(largest), key=len)
            largest.remove(smallest_group)
            members.append(smallest_group)
    return splits


def read_splits(manual_dir: str | os.PathLike) -> dict[str, list[list[Photo]]]:
    """Reads a folder of photos, and divides them as the data set prepared from it will be; see `split_photos`.

    Args:
      manual_dir: see `photo_folder.scan`.

    Raises:
      FileNotFoundError, ValueError: see `photo_folder.scan` and `split_photos`.
    """
    photos = photo_folder.scan(manual_dir).photos
    converted = workers.map_ordered(photo_folder.convert_photo, [(photo, _SMALL) for photo in photos])
    results = zip(photos, converted, strict=True)
    return split_photos({photo: result for photo, result in results if not isinstance(result.image, str)})


def write_table(folder: epath.Path, splits: Mapping[str, list[list[Photo]]]) -> None:
    """Writes `splits.csv`: label, split and group of near-duplicates of each photo.

    Args:
      folder: folder of the prepared data.
      splits: see `split_photos`.
    """
    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("file", "attribute", "split", "group"))
    rows.writerows(
        (photo.name, photo.attribute, split, number or "")
        for split, photo, number in sorted(number_groups(splits), key=lambda row: row[1].name)
    )
    (folder / TABLE).write_text(table.getvalue())


def number_groups(splits: Mapping[str, list[list[Photo]]]) -> Iterator[tuple[str, Photo, int]]:
    """Yields split, photo and the number of its group of near-duplicates from 1 on; 0 for a photo without any."""
    numbers = itertools.count(1)
    for split, groups in splits.items():
        for group in groups:
            number = next(numbers) if len(group) > 1 else 0
            yield from ((split, photo, number) for photo in group)
