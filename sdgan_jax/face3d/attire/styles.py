"""The choices of what is worn: form, colours, size, a texture."""

from __future__ import annotations

import dataclasses
import re

import jax
import numpy as np
from flax import struct

KINDS: dict[str, tuple[str, ...]] = {
    "mask": ("surgical", "cloth", "cup"),
    "eyeglasses": ("rectangle", "round", "oval", "cat-eye"),
    "sunglasses": ("wayfarer", "aviator", "round", "cat-eye"),
    "beard": ("full", "short", "goatee"),
    "mustache": ("chevron", "pencil", "handlebar"),
}
_MASKS = ("#9ecce6", "#e6edf2", "#1f1f21", "#b3dbc7", "#edbdc7")
_RIMS = ("#0d0d0f", "#402617", "#8c7347", "#99999e", "#73141a", "#1f2e61")
_LENSES = ("#08080a", "#1f140d", "#0d170f", "#121729", "#73290f")
_HAIRS = ("#171414", "#302119", "#573824", "#6e3d24", "#85401f", "#bd662e", "#94734a", "#bab8b3")


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
        colour = {"surgical": _MASKS[0], "cloth": "#2b3550", "cup": "#ebebe8"}[kind]
        return Style(kind, parse_colour(colour), parse_colour("#ecece9"))
    if attribute == "eyeglasses":
        return Style(kind, parse_colour(_RIMS[0]), parse_colour("#ffffff"))
    if attribute == "sunglasses":
        rim = {"aviator": _RIMS[2]}.get(kind, _RIMS[0])
        return Style(kind, parse_colour(rim), parse_colour(_LENSES[0]))
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
        colours = {"surgical": _MASKS, "cloth": None, "cup": ("#ebebe8", "#ebebe8", "#29292b")}[style.kind]
        free = np.clip(rng.uniform(0.05, 0.85) + 0.3 * rng.uniform(-1, 1, 3), 0.04, 0.95).astype(np.float32)
        colour = free if colours is None else parse_colour(colours[rng.integers(len(colours))])
        second = parse_colour("#ecece9" if rng.uniform() < 0.8 else "#1a1a1a")
        return dataclasses.replace(style, colour=colour, second=second, size=size, thickness=thickness)
    if attribute in ("eyeglasses", "sunglasses"):
        colour = parse_colour(_RIMS[rng.choice(len(_RIMS), p=[0.5, 0.18, 0.1, 0.08, 0.07, 0.07])])
        second = style.second
        if attribute == "sunglasses":
            second = parse_colour(_LENSES[rng.choice(len(_LENSES), p=[0.5, 0.18, 0.12, 0.12, 0.08])])
        return dataclasses.replace(style, colour=colour, second=second, size=size, thickness=thickness)
    colour = None if rng.uniform() < 0.7 else parse_colour(_HAIRS[rng.integers(len(_HAIRS))])
    return dataclasses.replace(style, colour=colour, size=size, thickness=thickness)


def parse_colour(text: str) -> np.ndarray:
    """Reads #rrggbb as sRGB f32[3] in [0, 1].

    Raises:
        ValueError: it is not of that form.
    """
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        raise ValueError(f"colour {text!r} is not #rrggbb, e.g. #7fb2d9")
    return np.array([int(text[-6:][k : k + 2], 16) for k in (0, 2, 4)], np.float32) / 255


def _kinds(attribute: str) -> tuple[str, ...]:
    if attribute not in KINDS:
        raise ValueError(f"unknown attribute {attribute!r}; what can be worn is {', '.join(KINDS)}")
    return KINDS[attribute]
