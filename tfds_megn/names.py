"""Grammar of the names of MEGN's data sets: `megn/<source>_<resolution>[_n<images>][:<version>]`."""

from __future__ import annotations

import dataclasses
import re

RENDERED, NATURAL, VARIED, PHOTOS = "rendered", "natural", "varied", "photos"
DRAWN = (RENDERED, NATURAL, VARIED)  # sources of drawn faces, whose shape is known
SIZES = {
    RENDERED: (32, 64, 128, 256),
    NATURAL: (64, 128),
    VARIED: (64, 128),
    PHOTOS: (64, 128, 256, 512, 1024),
}  # resolutions of each source
_SOURCES = "|".join(SIZES)
_NAME = re.compile(
    rf"(?:megn/)?(?P<config>(?P<source>{_SOURCES})_(?P<resolution>[1-9]\d{{0,5}})(?:_n(?P<images>[1-9]\d{{0,11}}))?)(?::.*)?"
)


@dataclasses.dataclass(frozen=True)
class Name:
    """The parts of a data set's name.

    Attributes:
      config: the name without "megn/" and version, such as 'rendered_64_n2000'.
      source: one of `DRAWN`, or `PHOTOS`.
      resolution: width and height of the images in pixels; not checked against `SIZES`.
      num_images: number of images of all splits together, None for the default of the data set.
    """

    config: str
    source: str
    resolution: int
    num_images: int | None


def parse(name: str) -> Name | None:
    """Returns the parts of a name such as 'megn/rendered_64_n2000', None for a name of another data set.

    Args:
      name: the name, with or without "megn/" in front and a version such as ":1.0.0" behind.
    """
    match = _NAME.fullmatch(name)
    if not match or (match["images"] and match["source"] == PHOTOS):
        return None
    images = int(match["images"]) if match["images"] else None
    return Name(match["config"], match["source"], int(match["resolution"]), images)


def nearest_rendered(resolution: int) -> str:
    """Returns the config of rendered faces nearest in size to a power of two, such as 'rendered_256' to 1024."""
    return f"{RENDERED}_{min(max(resolution, SIZES[RENDERED][0]), SIZES[RENDERED][-1])}"
