"""Images of a data set that cannot be read: their names, and the images that take their places."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from tqdm import auto as tqdm

from tfds_megn import listing

Read = TypeVar("Read")


class BrokenImageError(ValueError):
    """An image of a data set cannot be read; the message is one line that names it and its file."""


def make_error(name: str, source: Any, index: int, reason: object) -> BrokenImageError:
    """Makes the error of an image.

    Args:
        name: name of data set and split.
        source: the split for random access, as TFDS opens it.
        index: number of the image in the split.
        reason: what is wrong.
    """
    words = listing.one_line(reason)[:300].removeprefix(f"{name}, image {index}: ")
    return BrokenImageError(f"{name}, image {index}: {words} ({_find_record(source, index)})")


@contextlib.contextmanager
def naming_damage(dataset: str, folder: str) -> Iterator[None]:
    """Turns the errors of TFDS at a data set whose metadata are damaged or missing into one line.

    Args:
        dataset: its name.
        folder: folder of the prepared data sets.

    Raises:
        ValueError: in the block, the metadata could not be read.
    """
    try:
        yield
    except (json_format.ParseError, KeyError) as error:
        reason = listing.one_line(error.args[0])[:300]
        raise ValueError(
            f"{dataset}: its folder in {folder} is incomplete or damaged ({reason}); move it away, and the same "
            "command prepares the data set again"
        ) from error


def _find_record(source: Any, index: int) -> str:
    """Returns the place of an image, such as "record 3 of /data/megn-train.array_record-00000-of-00001"."""
    for part in source.dataset_info.splits[source.split].file_instructions:
        if index < part.examples_in_shard:
            return f"record {part.skip + index} of {part.filename}"
        index -= part.examples_in_shard
    return "no such record"


def read_or_replace(
    read: Callable[[int], Read], count: int, indices: Sequence[int], most: int
) -> tuple[list[Read], dict[int, str]]:
    """Reads images one by one; the next image that can be read takes the place of one that cannot.

    Args:
        read: reads the image of a number; raises `BrokenImageError`.
        count: number of images; the first follows the last.
        indices: numbers of the images.
        most: the number of broken images at which reading goes on.

    Returns:
        What `read` returned for each of `indices`, and the reasons by the numbers of the broken images. When more than
        `most` are broken, reading stops, and the former is incomplete.
    """
    images, skipped = [], dict[int, str]()
    for index in indices:
        while True:
            try:
                images.append(read(index))
                break
            except BrokenImageError as error:
                skipped[index] = str(error)
            if len(skipped) > most or len(skipped) == count:
                return images, skipped
            index = (index + 1) % count
    return images, skipped


def say_replaced(reason: str) -> None:
    """Prints that the next image takes the place of a broken one, above progress bars."""
    tqdm.tqdm.write(f"left out, replaced by the next image: {reason}", file=sys.stderr)


def describe_excess(count: int, most: int) -> str:
    """Returns the reason to stop where `count` images are broken and only `most` may be, with the way out."""
    return (
        f"{count} images cannot be read, and config.max_skipped is {most}: move the folder of these files away and run "
        "the same command, which prepares the data set again and resumes, or raise --config.max_skipped"
    )
