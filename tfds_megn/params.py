"""Parameters of a rendered face: one float32 vector, drawn from an identity and a variant number.

The identity number fixes what stays with a person (shape, skin, eyes, brows, lips, hair, age); the variant
number fixes what a photograph adds (pose, light, background, expression, clothes, and the look of each
attribute).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tfds_megn import attire
from tfds_megn.additions import ADDITIONS

ATTRIBUTES = ("none", "mask", "eyeglasses", "sunglasses", "beard", "mustache")

# Unit of length: half the head's height. Angles: radians. Colours: sRGB in [0, 1].
POSE = ("yaw", "pitch", "roll", "scale", "shift_x", "shift_y")
LIGHT = ("light_azimuth", "light_elevation", "light_strength", "light_warmth", "ambient")
BACKGROUND = ("back_r", "back_g", "back_b", "back2_r", "back2_g", "back2_b", "back_kind", "back_seed")
EXPRESSION = ("smile", "mouth_open", "brow_raise", "eye_open", "gaze_x", "gaze_y")
CLOTHES = ("cloth_r", "cloth_g", "cloth_b", "collar", "shoulder_width")
SHAPE = (
    "head_width", "head_depth", "jaw_width", "chin_length", "chin_width", "cheek_bone", "cheek_full",
    "forehead",
    "brow_ridge", "eye_spacing", "eye_height", "eye_size", "eye_tilt", "eye_depth", "nose_length",
    "nose_width",
    "nose_height", "nose_bridge", "nose_tip", "mouth_height", "mouth_width", "lip_upper", "lip_lower",
    "ear_size",
    "ear_out", "neck_width",
)  # fmt: skip
ALBEDO = (
    "skin_r", "skin_g", "skin_b", "blush", "lip_r", "lip_g", "lip_b", "iris_r", "iris_g", "iris_b", "lash",
    "brow_thick", "brow_arch", "brow_density", "freckles", "age", "stubble", "skin_seed",
)  # fmt: skip
HAIR = (
    "hair_r", "hair_g", "hair_b", "hair_volume", "hair_line", "hair_fringe", "hair_sweep", "hair_recede",
    "hair_crown", "hair_side", "hair_flow", "hair_length", "hair_curl", "hair_bun", "hair_seed",
)  # fmt: skip
WEAR = (
    "mask_kind", "mask_r", "mask_g", "mask_b", "mask_strap", "mask_top", "mask_puff",
    "rim_shape", "rim_size", "rim_thick", "rim_r", "rim_g", "rim_b", "glare",
    "sun_shape", "sun_size", "sun_thick", "sun_r", "sun_g", "sun_b", "lens_r", "lens_g", "lens_b",
    "lens_mirror",
    "beard_length", "beard_density", "beard_cheek", "mustache_form", "mustache_thick", "mustache_length",
)  # fmt: skip

PARAM_NAMES: tuple[str, ...] = (
    POSE + LIGHT + BACKGROUND + EXPRESSION + CLOTHES + SHAPE + ALBEDO + HAIR + WEAR
)  # fmt: skip

# Faces of `varied.sample_params` have additional ones, behind the others.
VARIED_NAMES: tuple[str, ...] = PARAM_NAMES + tuple(ADDITIONS)

SEED = 0x4D45474E  # "MEGN"

# Skin from the lightest to the darkest, sRGB; a person lies anywhere on the line between.
_SKINS = np.array(
    [
        (0.97, 0.84, 0.77), (0.93, 0.76, 0.66), (0.88, 0.69, 0.56), (0.80, 0.59, 0.45),
        (0.66, 0.46, 0.33), (0.50, 0.34, 0.24), (0.36, 0.24, 0.17),
    ]
)  # fmt: skip
_IRISES = {
    "dark": (0.16, 0.09, 0.06), "brown": (0.35, 0.20, 0.10), "hazel": (0.45, 0.35, 0.17),
    "green": (0.32, 0.46, 0.28), "blue": (0.32, 0.50, 0.70), "grey": (0.48, 0.54, 0.58),
}  # fmt: skip


def as_face(params: np.ndarray) -> SimpleNamespace:
    """Names the numbers of one face.

    Args:
      params: f32[P], one face, in the order of `PARAM_NAMES` or of `VARIED_NAMES`.

    Returns:
      A namespace with one Python float per name.

    Raises:
      ValueError: if the length is that of neither tuple or a number is not finite.
    """
    flat = np.asarray(params, dtype=np.float32)
    if flat.shape not in ((len(PARAM_NAMES),), (len(VARIED_NAMES),)):
        raise ValueError(
            f"params has shape {flat.shape}; a face is one vector of {len(PARAM_NAMES)} numbers, "
            "see tfds_megn.PARAM_NAMES."
        )
    if not np.isfinite(flat).all():
        raise ValueError("params contains NaN or Inf; draw faces with tfds_megn.sample_params(identity, variant).")
    return SimpleNamespace(**ADDITIONS | dict(zip(VARIED_NAMES[: len(flat)], flat.tolist(), strict=True)))


def attribute_name(attribute: str | int) -> str:
    """The name of an attribute given by name or id.

    Raises:
      ValueError: if there is no such attribute.
    """
    if isinstance(attribute, (int, np.integer)) and not isinstance(attribute, bool):
        if 0 <= attribute < len(ATTRIBUTES):
            return ATTRIBUTES[attribute]
    elif attribute in ATTRIBUTES:
        return str(attribute)
    raise ValueError(f"unknown attribute {attribute!r}; the known ones are {', '.join(ATTRIBUTES)} (ids 0 to 5).")


def sample_params(identity: int, variant: int = 0) -> np.ndarray:
    """Draws one face; the same numbers give the same vector.

    Args:
      identity: non-negative int; the person.
      variant: non-negative int; the photograph of that person (pose, light, background, expression, wear
        style).

    Returns:
      f32[P] in the order of `PARAM_NAMES`.

    Raises:
      ValueError: if a number is negative.
    """
    if identity < 0 or variant < 0:
        raise ValueError(f"identity and variant must be 0 or more, got {identity} and {variant}.")
    values = _sample_identity(np.random.default_rng(np.random.SeedSequence((SEED, 1, int(identity)))))
    rng = np.random.default_rng(np.random.SeedSequence((SEED, 2, int(identity), int(variant))))
    values |= _sample_photograph(rng) | _sample_wear(rng)
    return np.array([values[name] for name in PARAM_NAMES], dtype=np.float32)


def _spread(rng: np.random.Generator, mean: float, deviation: float, limit: float = 2.2) -> float:
    """Draws a normal number, cut at `limit` deviations."""
    return mean + deviation * min(max(rng.standard_normal(), -limit), limit)


def _rgb(prefix: str, colour: np.ndarray | tuple[float, ...]) -> dict[str, float]:
    return {f"{prefix}_{c}": min(max(float(v), 0.0), 1.0) for c, v in zip("rgb", colour, strict=True)}


def _choose(rng: np.random.Generator, weights: tuple[float, ...] | np.ndarray) -> int:
    """Draws an index with these weights, as `Generator.choice` does, without the checks that take most of its time."""
    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    return int(np.searchsorted(total / total[-1], rng.random(), side="right"))


def _pick(rng: np.random.Generator, table: dict[str, tuple], weights: tuple[float, ...]) -> np.ndarray:
    """Draws one row of a colour table, slightly varied."""
    row = np.array(list(table.values())[_choose(rng, weights)])
    return row * (1.0 + 0.12 * rng.uniform(-1, 1)) + 0.015 * rng.uniform(-1, 1, 3)


def _sample_identity(rng: np.random.Generator) -> dict[str, float]:
    """Draws the parameters that stay with a person."""
    # 0 rugged .. 1 delicate features
    soft = min(max(rng.normal(0.5 + 0.35 * (-1, 1)[rng.integers(0, 2)], 0.15), 0.0), 1.0)
    age = float(rng.beta(1.3, 1.6))  # 0 young .. 1 old
    tone = float(rng.uniform(0, 1))  # 0 light .. 1 dark
    return (
        _sample_shape(rng, soft, tone, age) | _sample_albedo(rng, soft, tone, age) | _sample_hair(rng, soft, tone, age)
    )


def _sample_shape(rng: np.random.Generator, soft: float, tone: float, age: float) -> dict[str, float]:
    hard = 0.5 - soft
    return {
        "head_width": _spread(rng, 0.985 + 0.02 * hard, 0.065),
        "head_depth": _spread(rng, 1.0, 0.04),
        "jaw_width": _spread(rng, -0.03 + 0.12 * hard, 0.06),
        "chin_length": _spread(rng, 0.02 * hard, 0.05),
        "chin_width": _spread(rng, 0.15 + 0.06 * hard, 0.035),
        "cheek_bone": _spread(rng, 0.045 - 0.01 * hard, 0.022),
        "cheek_full": _spread(rng, 0.0, 0.03),
        "forehead": _spread(rng, 0.02, 0.025),
        "brow_ridge": _spread(rng, 0.03 + 0.04 * hard, 0.012),
        "eye_spacing": _spread(rng, 0.272, 0.016),
        "eye_height": _spread(rng, 0.0, 0.02),
        "eye_size": _spread(rng, 0.163 - 0.016 * hard, 0.011),
        "eye_tilt": _spread(rng, 0.06, 0.07),
        "eye_depth": _spread(rng, 0.085 + 0.02 * hard, 0.018),
        "nose_length": _spread(rng, 0.325 + 0.02 * hard, 0.026),
        "nose_width": _spread(rng, 0.095 + 0.015 * hard + 0.025 * tone, 0.014),
        "nose_height": _spread(rng, 0.175 + 0.03 * hard - 0.02 * tone, 0.028),
        "nose_bridge": _spread(rng, 0.075 + 0.02 * hard, 0.02),
        "nose_tip": _spread(rng, 0.05, 0.02),
        "mouth_height": _spread(rng, 0.605, 0.018),
        "mouth_width": _spread(rng, 0.225 + 0.01 * hard, 0.022),
        "lip_upper": max(0.02, _spread(rng, 0.056 - 0.018 * hard + 0.014 * tone - 0.012 * age, 0.011)),
        "lip_lower": max(0.03, _spread(rng, 0.076 - 0.018 * hard + 0.016 * tone - 0.014 * age, 0.012)),
        "ear_size": _spread(rng, 1.0 + 0.1 * age, 0.12),
        "ear_out": _spread(rng, 0.0, 0.025),
        "neck_width": _spread(rng, 0.385 + 0.09 * hard, 0.025),
    }


def _sample_albedo(rng: np.random.Generator, soft: float, tone: float, age: float) -> dict[str, float]:
    place = tone * (len(_SKINS) - 1)
    low = min(int(place), len(_SKINS) - 2)
    skin = _SKINS[low] + (place - low) * (_SKINS[low + 1] - _SKINS[low])
    skin = skin * (1 + 0.05 * rng.uniform(-1, 1)) + np.array([0.0, 0.012, -0.03]) * rng.uniform(-1, 1)
    makeup = rng.uniform(0, 1) < 0.7 * soft
    lip = skin * np.array([0.90, 0.66, 0.66])
    if makeup:
        lipstick = np.array([rng.uniform(0.55, 0.85), rng.uniform(0.1, 0.35), rng.uniform(0.18, 0.4)])
        strength = rng.uniform(0.1, 0.75)
        lip = lip + strength * (lipstick - lip)
    dark = tone > 0.55
    iris = _pick(rng, _IRISES, (6, 3, 0.3, 0.1, 0.1, 0.05) if dark else (2, 3, 2, 1.4, 2.5, 1))
    return {
        **_rgb("skin", skin),
        "blush": rng.uniform(0.1, 0.6) + (0.25 if makeup else 0.0),
        **_rgb("lip", lip),
        **_rgb("iris", iris),
        "lash": rng.uniform(0.2, 0.5) + (0.5 if makeup else 0.15 * soft),
        "brow_thick": max(0.010, _spread(rng, 0.025 - 0.014 * (soft - 0.5), 0.006)),
        "brow_arch": _spread(rng, 0.03 + 0.03 * (soft - 0.5), 0.02),
        "brow_density": rng.uniform(0.6, 1.0),
        "freckles": float(rng.uniform(0.4, 1.0)) if rng.uniform() < (0.3 if tone < 0.4 else 0.05) else 0.0,
        "age": age,
        "stubble": float(rng.uniform(0.0, 0.5)) if soft < 0.35 and rng.uniform() < 0.6 else 0.0,
        "skin_seed": float(rng.integers(0, 256)),
    }


def _sample_hair(rng: np.random.Generator, soft: float, tone: float, age: float) -> dict[str, float]:
    dark = tone > 0.5
    colour = _pick(
        rng, attire.HAIRS, (8, 3, 0.6, 0.2, 0.1, 0, 0, 0.1, 0) if dark else (3, 4, 4, 2, 1.2, 1.2, 2, 2, 0.7)
    )
    if rng.uniform() < 0.04:  # dyed
        colour = np.array([rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.4), rng.uniform(0.3, 0.7)])
    grey = float(np.clip((age - 0.55) / 0.35 + rng.normal(0, 0.25), 0, 1)) if age > 0.45 else 0.0
    colour = colour + grey * (np.array(attire.GREY_HAIR) * rng.uniform(0.75, 1.15) - colour)
    style = {
        "hair_volume": rng.uniform(0.06, 0.13), "hair_line": rng.uniform(-0.02, 0.06), "hair_fringe": 0.0,
        "hair_sweep": rng.uniform(-1, 1), "hair_recede": 0.0, "hair_crown": 0.0,
        "hair_side": rng.uniform(0.3, 1),
        "hair_length": 0.0, "hair_curl": rng.uniform(0, 0.3) + (0.35 if dark and rng.uniform() < 0.5 else 0),
        "hair_bun": 0.0, "hair_flow": float(rng.integers(0, 3)),  # 0 from the crown, 1 back, 2 from a parting
    }  # fmt: skip
    cuts = ("bald", "ring", "buzz", "short", "quiff", "fringe", "afro", "bob", "long", "tied")
    long_weights = np.array((0.1, 0, 0.2, 1.0, 0.6, 0.6, 1.2 * tone, 2.0, 5.0, 2.0))
    short_weights = np.array((1.0 + age, 1.6 * age, 1.4, 4.0, 2.0, 1.6, 1.2 * tone, 0.3, 0.5, 0.3))
    weights = soft * long_weights + (1 - soft) * short_weights
    cut = cuts[_choose(rng, weights)]
    style |= _cut(rng, cut, age * (1 - soft))
    style |= _rgb("hair", colour)
    style["hair_seed"] = float(rng.integers(0, 256))
    return style


def _cut(rng: np.random.Generator, cut: str, loss: float) -> dict[str, float]:
    """Draws the parameters of a hair cut; `loss` in [0, 1] is the share of hair that is lost."""
    recede = float(np.clip(loss - 0.2, 0, 1) * rng.uniform(0, 0.5))
    u = rng.uniform
    return {
        "bald": {"hair_volume": 0.0},
        "ring": {"hair_volume": u(0.03, 0.07), "hair_crown": u(0.7, 1.0), "hair_recede": 0.4},
        "buzz": {"hair_volume": u(0.015, 0.03), "hair_recede": recede},
        "short": {"hair_volume": u(0.06, 0.14), "hair_recede": max(recede, u(0, 0.5)),
        "hair_fringe": u(-0.15, 0.15),
                  "hair_flow": float(u() < 0.5) + 1.0},
        "quiff": {"hair_flow": 1.0, "hair_volume": u(0.14, 0.22), "hair_recede": recede,
        "hair_fringe": u(-0.15, 0.05)},
        "fringe": {"hair_flow": 0.0, "hair_volume": u(0.09, 0.15), "hair_fringe": u(0.45, 0.85),
        "hair_sweep": u(-0.6, 0.6)},
        "afro": {"hair_volume": u(0.2, 0.42), "hair_curl": u(0.8, 1.0), "hair_fringe": u(-0.1, 0.1)},
        "bob": {"hair_volume": u(0.11, 0.17), "hair_fringe": u(0, 0.8), "hair_length": u(0.55, 0.95),
        "hair_side": 1.0},
        "long": {"hair_volume": u(0.1, 0.17), "hair_fringe": u(-0.1, 0.7), "hair_length": u(1.1, 1.7),
        "hair_side": 1.0},
        "tied": {"hair_flow": 1.0, "hair_volume": u(0.04, 0.07), "hair_fringe": u(-0.1, 0.1),
        "hair_bun": u(0.18, 0.32) * (u() < 0.6)},
    }[cut]  # fmt: skip


def _sample_photograph(rng: np.random.Generator) -> dict[str, float]:
    """Draws the parameters that a photograph adds to a person."""
    back = rng.uniform(0.08, 0.95) + rng.uniform(0.02, 0.2) * rng.uniform(-1, 1, 3)
    back2 = np.clip(back + rng.normal(0, 0.18) + 0.1 * rng.uniform(-1, 1, 3), 0.02, 0.98)
    value = rng.uniform(0.08, 0.9)
    cloth = np.clip(value + rng.uniform(0, 0.3) * rng.uniform(-1, 1, 3), 0.03, 0.95)
    deg = np.pi / 180
    return {
        "yaw": min(max(rng.normal(0, 15), -35), 35) * deg,
        "pitch": min(max(rng.normal(0, 6), -15), 15) * deg,
        "roll": min(max(rng.normal(0, 4), -10), 10) * deg,
        "scale": _spread(rng, 0.735, 0.025),
        "shift_x": _spread(rng, 0.0, 0.03),
        "shift_y": _spread(rng, 0.0, 0.025),
        "light_azimuth": min(max(rng.normal(0, 35), -75), 75) * deg,
        "light_elevation": min(max(rng.normal(32, 14), -5), 65) * deg,
        "light_strength": rng.uniform(0.75, 1.15),
        "light_warmth": min(max(rng.normal(0.05, 0.3), -0.7), 0.8),
        "ambient": rng.uniform(0.28, 0.55),
        **_rgb("back", back),
        **_rgb("back2", back2),
        "back_kind": float(rng.integers(0, 4)),
        "back_seed": float(rng.integers(0, 4096)),
        "smile": min(max(rng.normal(0.35, 0.4), -0.3), 1.0),
        "mouth_open": min(max(rng.normal(-0.2, 0.45), 0), 1),
        "brow_raise": min(max(rng.normal(0, 0.4), -1), 1),
        "eye_open": min(max(rng.normal(1.0, 0.12), 0.55), 1.25),
        "gaze_x": min(max(rng.normal(0, 0.3), -0.8), 0.8),
        "gaze_y": min(max(rng.normal(0, 0.2), -0.5), 0.5),
        **_rgb("cloth", cloth),
        "collar": float(rng.integers(0, 3)),
        "shoulder_width": rng.uniform(1.25, 1.6),
    }


def _sample_wear(rng: np.random.Generator) -> dict[str, float]:
    """Draws the look of every attribute, of which a picture shows at most one."""
    kind = float(_choose(rng, (0.5, 0.3, 0.2)))  # index of attire.MASK_KINDS
    if kind == 0:
        mask = attire.MASKS[_choose(rng, attire.MASK_SHARES)]
    elif kind == 1:
        mask = np.clip(rng.uniform(0.05, 0.85) + 0.3 * rng.uniform(-1, 1, 3), 0.04, 0.95)
    else:
        mask = attire.CUPS[0] if rng.uniform() < 0.8 else attire.CUPS[1]
    return {
        "mask_kind": kind,
        **_rgb("mask", mask),
        "mask_strap": rng.uniform(0.75, 0.98) if rng.uniform() < 0.8 else 0.1,
        "mask_top": _spread(rng, attire.MASK_TOP, 0.03),
        "mask_puff": rng.uniform(0.0, 1.0),
        "rim_shape": float(rng.integers(0, 4)),  # index of attire.LENSES["eyeglasses"]
        "rim_size": rng.uniform(0.92, 1.15),
        "rim_thick": rng.uniform(0.018, 0.042),
        **_rgb("rim", attire.RIMS[_choose(rng, attire.RIM_SHARES["eyeglasses"])]),
        "glare": rng.uniform(0.1, 0.7),
        "sun_shape": float(rng.integers(0, 4)),  # index of attire.LENSES["sunglasses"]
        "sun_size": rng.uniform(0.98, 1.2),
        "sun_thick": rng.uniform(0.014, 0.034),
        **_rgb("sun", attire.RIMS[_choose(rng, attire.RIM_SHARES["sunglasses"])]),
        **_rgb("lens", attire.TINTS[_choose(rng, attire.TINT_SHARES)]),
        "lens_mirror": rng.uniform(0.2, 0.5) if rng.uniform() < 0.3 else rng.uniform(0.03, 0.15),
        "beard_length": float(rng.beta(1.2, 2.0)),
        "beard_density": rng.uniform(0.75, 1.0),
        "beard_cheek": rng.uniform(0.0, 1.0),
        "mustache_form": float(rng.integers(0, 3)),  # index of attire.MUSTACHES
        "mustache_thick": rng.uniform(0.7, 1.3),
        "mustache_length": rng.uniform(0.85, 1.2),
    }
