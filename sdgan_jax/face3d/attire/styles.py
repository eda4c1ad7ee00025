"""The choices of what is worn: form, colours, size, a texture."""

from __future__ import annotations

import dataclasses
import re

import jax
import numpy as np
from flax import struct

from tfds_megn import attire

KINDS: dict[str, tuple[str, ...]] = {
    "mask": ("surgical", "cloth", "cup"),
    "eyeglasses": ("rectangle", "round", "oval", "cat-eye"),
    "sunglasses": ("wayfarer", "aviator", "round", "cat-eye"),
    "beard": ("full", "short", "goatee"),
    "mustache": ("chevron", "pencil", "handlebar"),
}
_STRAP, _DARK_STRAP = 0.925, 0.1  # brightness
_CLOTH = "#2b3550"


@struct.dataclass
class Style:
    """How an attribute looks.

    Attributes:
        kind: its form, one of `KINDS[attribute]`.
        colour: f32[3], sRGB in [0, 1]: of the cloth, the rims, the hair. None: hair like the brows.
        second: f32[3], of the mask's straps or the lenses.
        size: f32[], factor of its extent, 0.8 to 1.2.
        thickness: f32[], how far a mask stands off, how thick rims are, how long hair is: 1 is usual, 0 to 2.
        texture: RGBA, u8[h,w,4] or f32[h,w,4] in [0, 1], drawn onto the attribute across its width and down its
            height; where it is transparent the colour shows. None: the colour alone.
    """

    kind: str = struct.field(pytree_node=False)
    colour: jax.Array | np.ndarray | None = None
    second: jax.Array | np.ndarray | None = None
    size: float | jax.Array = 1.0
    thickness: float | jax.Array = 1.0
    texture: jax.Array | np.ndarray | None = None


def default_style(attribute: str, kind: str | None = None) -> Style:
    """The usual look of an attribute.

    Args:
        attribute: a key of `KINDS`.
        kind: its form; the first of `KINDS[attribute]` by default.

    Raises:
        ValueError: there is no such attribute or kind.
    """
    kinds = _kinds(attribute)
    kind = kinds[0] if kind is None else kind
    if kind not in kinds:
        raise ValueError(f"{attribute} has no style {kind!r}; the styles are {', '.join(kinds)}")
    if attribute == "mask":
        colour = {"surgical": attire.MASKS[0], "cloth": None, "cup": attire.CUPS[0]}[kind]
        cloth = parse_colour(_CLOTH) if colour is None else _array(colour)
        return Style(kind, cloth, _array(attire.strap_colour(_STRAP)))
    if attribute == "eyeglasses":
        return Style(kind, _array(attire.RIMS[0]), _array((1.0, 1.0, 1.0)))
    if attribute == "sunglasses":
        rim = attire.RIMS[2] if kind == "aviator" else attire.RIMS[0]
        return Style(kind, _array(rim), _array(attire.TINTS[0]))
    return Style(kind)


def random_style(attribute: str, seed: int, kind: str | None = None) -> Style:
    """A look drawn at random; the same seed gives the same.

    Args:
        attribute: a key of `KINDS`.
        seed: non-negative int.
        kind: its form; drawn too by default.

    Raises:
        ValueError: there is no such attribute or kind.
    """
    rng = np.random.default_rng([seed, *attribute.encode()])
    kinds = _kinds(attribute)
    style = default_style(attribute, kinds[rng.integers(len(kinds))] if kind is None else kind)
    size, thickness = rng.uniform(0.94, 1.08), rng.uniform(0.6, 1.4)
    if attribute == "mask":
        free = np.clip(rng.uniform(0.05, 0.85) + 0.3 * rng.uniform(-1, 1, 3), 0.04, 0.95).astype(np.float32)
        surgical = _array(attire.MASKS[rng.choice(len(attire.MASKS), p=attire.MASK_SHARES)])
        cup = _array(attire.CUPS[rng.choice(2, p=(0.8, 0.2))])
        colour = {"surgical": surgical, "cloth": free, "cup": cup}[style.kind]
        second = _array(attire.strap_colour(_STRAP if rng.uniform() < 0.8 else _DARK_STRAP))
        return dataclasses.replace(style, colour=colour, second=second, size=size, thickness=thickness)
    if attribute in ("eyeglasses", "sunglasses"):
        colour = _array(attire.RIMS[rng.choice(len(attire.RIMS), p=attire.RIM_SHARES[attribute])])
        second = style.second
        if attribute == "sunglasses":
            second = _array(attire.TINTS[rng.choice(len(attire.TINTS), p=attire.TINT_SHARES)])
        return dataclasses.replace(style, colour=colour, second=second, size=size, thickness=thickness)
    hairs = (*attire.HAIRS.values(), attire.GREY_HAIR)
    colour = None if rng.uniform() < 0.7 else _array(hairs[rng.integers(len(hairs))])
    return dataclasses.replace(style, colour=colour, size=size, thickness=thickness)


def parse_colour(text: str) -> np.ndarray:
    """Reads #rrggbb as sRGB f32[3] in [0, 1].

    Raises:
        ValueError: it is not of that form.
    """
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        raise ValueError(f"colour {text!r} is not #rrggbb, e.g. #7fb2d9")
    return np.array([int(text[-6:][k : k + 2], 16) for k in (0, 2, 4)], np.float32) / 255


def _array(colour: attire.Colour) -> np.ndarray:
    return np.array(colour, np.float32)


def _kinds(attribute: str) -> tuple[str, ...]:
    if attribute not in KINDS:
        raise ValueError(f"unknown attribute {attribute!r}; what can be worn is {', '.join(KINDS)}")
    return KINDS[attribute]
