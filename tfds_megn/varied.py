"""Parameters of faces with real proportions: natural ones, and varied ones, which are seen as photos see them.

The shapes follow the mean of the 68 landmarks of 300-W (the inner 51 as dlib's face alignment has them): eyes and nose
are smaller than in `sample_params`, brows longer, nose and mouth higher. The jaw has the depth of PRNet's public mean
head: its sides reach back to the ears, and the chin comes forward. Poses reach profiles, mouths open wide, eyes
close, light comes from anywhere in any colour, hats, hands and hair cover parts of the face. A face lies in the picture
as a finder frames it.
"""

from __future__ import annotations

import numpy as np

from tfds_megn import params
from tfds_megn.additions import ADDITIONS
from tfds_megn.params import PARAM_NAMES, SEED, VARIED_NAMES
from tfds_megn.uv import outline

# Mean of width and height of the face's box, and its centre, in sides of the picture: those of rendered faces.
SHARE, CENTRE = 0.467, (0.50, 0.645)
MOST_YAW, MOST_PITCH, MOST_ROLL = 90.0, 45.0, 30.0  # degrees
BACKGROUNDS = 6  # values of `back_kind`; `backdrop` draws the last two
_DEGREE = np.pi / 180

# Mean of a shape in `sample_params`, its mean here, and the factor of its spread.
_SHAPES = {
    "eye_size": (0.163, 0.113, 0.9), "nose_length": (0.325, 0.262, 1.0), "nose_width": (0.10, 0.085, 0.8),
    "mouth_height": (0.605, 0.525, 1.3), "head_width": (0.985, 0.941, 1.0), "jaw_width": (-0.03, -0.015, 1.2),
    "lip_upper": (0.05, 0.05, 1.2), "lip_lower": (0.069, 0.069, 1.2), "nose_height": (0.165, 0.175, 1.2),
    "chin_length": (0.0, 0.0, 1.3), "eye_depth": (0.085, 0.085, 1.3), "brow_thick": (0.025, 0.025, 1.4),
    "eye_spacing": (0.272, 0.272, 1.2),
}  # fmt: skip


def sample_params(identity: int, variant: int = 0) -> np.ndarray:
    """Draws one varied face; the same numbers give the same vector.

    Args:
      identity: non-negative int; the person, whose skin, hair and features are those of `params.sample_params`.
      variant: non-negative int; the photograph of that person.

    Returns:
      f32[P] in the order of `VARIED_NAMES`.

    Raises:
      ValueError: if a number is negative.
    """
    values = _natural(identity, variant)
    rng = np.random.default_rng(np.random.SeedSequence((SEED, 4, int(identity), int(variant))))
    for draw in (_pose, _light, _expression, _cover):
        values |= draw(rng, values)
    values["back_kind"] = float(rng.integers(0, BACKGROUNDS))
    values["brow_density"] = rng.uniform(0.15, 1.0)
    values["mustache_thick"] = rng.uniform(0.7, 2.0)
    return _framed(rng, values)


def sample_natural(identity: int, variant: int = 0) -> np.ndarray:
    """Draws one face with real proportions in the photograph of `params.sample_params`; for the rest, as above."""
    values = _natural(identity, variant)
    rng = np.random.default_rng(np.random.SeedSequence((SEED, 5, int(identity), int(variant))))
    values |= {"eye_open": 0.86 * values["eye_open"], "teeth": rng.uniform(0.3, 1.2)}
    return np.array([values[name] for name in VARIED_NAMES], dtype=np.float32)


def _natural(identity: int, variant: int) -> dict[str, float]:
    """Returns the parameters of `params.sample_params` with real proportions."""
    values = dict(zip(PARAM_NAMES, params.sample_params(identity, variant).tolist(), strict=True)) | ADDITIONS
    rng = np.random.default_rng(np.random.SeedSequence((SEED, 3, int(identity))))
    for name, (old, new, factor) in _SHAPES.items():
        values[name] = new + factor * (values[name] - old)
    values["lip_upper"], values["lip_lower"] = max(values["lip_upper"], 0.015), max(values["lip_lower"], 0.02)
    values["brow_thick"] = max(values["brow_thick"], 0.008)
    values |= {"brow_half": rng.normal(0.21, 0.015), "nose_under": rng.normal(0.115, 0.010)}
    return values | {"jaw_depth": rng.normal(1.0, 0.15)}


def _mixed(rng: np.random.Generator, deviation: float, share: float, low: float, high: float) -> float:
    """Draws a normal number about 0 or, in a share of the cases, a uniform one, both within [low, high]."""
    normal, uniform = rng.normal(0.0, deviation), rng.uniform(low, high)
    return float(np.clip(uniform if rng.uniform() < share else normal, low, high))


def _pose(rng: np.random.Generator, values: dict[str, float]) -> dict[str, float]:
    yaw, pitch, roll = (
        _mixed(rng, deviation, share, -most, most)
        for deviation, share, most in ((22.0, 0.3, MOST_YAW), (9.0, 0.2, MOST_PITCH), (7.0, 0.2, MOST_ROLL))
    )
    return {"yaw": yaw * _DEGREE, "pitch": pitch * _DEGREE, "roll": roll * _DEGREE}


def _light(rng: np.random.Generator, values: dict[str, float]) -> dict[str, float]:
    colour = 1.0 + 0.6 * rng.uniform(-1, 1, 3) if rng.uniform() < 0.25 else np.ones(3)
    return {
        "light_azimuth": _mixed(rng, 35.0, 0.4, -110.0, 110.0) * _DEGREE,
        "light_elevation": float(np.clip(25.0 + _mixed(rng, 20.0, 0.3, -85.0, 55.0), -60.0, 80.0)) * _DEGREE,
        "light_strength": rng.uniform(0.5, 1.5),
        "ambient": rng.uniform(0.1, 0.75),
        **{f"key_{c}": float(v) for c, v in zip("rgb", colour, strict=True)},
    }


def _expression(rng: np.random.Generator, values: dict[str, float]) -> dict[str, float]:
    kind = rng.uniform()
    opened = 0.1 * rng.uniform() if kind < 0.5 else rng.uniform(0.1, 0.9) if kind < 0.8 else rng.uniform(0.9, 2.5)
    smile = float(np.clip(rng.normal(0.3, 0.7), -0.8, 1.8))
    lids, wide = rng.uniform(), float(np.clip(rng.normal(0.86, 0.14), 0.4, 1.4))
    lids = -0.58 if lids < 0.06 else rng.uniform(-0.3, 0.6) if lids < 0.16 else wide
    return {
        "smile": smile,
        "mouth_open": opened,
        # The lower lip moves down, the upper one hardly; the chin follows.
        "mouth_height": values["mouth_height"] + 0.035 * opened - 0.012 * max(smile, 0.0),
        "chin_length": values["chin_length"] + 0.03 * opened,
        "teeth": rng.uniform(0.3, 1.4) / (1.0 + opened),
        "eye_open": lids,
        "brow_raise": float(np.clip(rng.normal(0.0, 0.7), -1.3, 2.0)),
        "gaze_x": float(np.clip(rng.normal(0.0, 0.45), -1.0, 1.0)),
        "gaze_y": float(np.clip(rng.normal(0.0, 0.35), -0.8, 0.8)),
    }


def _cover(rng: np.random.Generator, values: dict[str, float]) -> dict[str, float]:
    """Draws what covers parts of the face: a hat, a hand, hair."""
    drawn = {
        "hat": float(rng.integers(1, 4)) if rng.uniform() < 0.18 else 0.0,
        **{
            f"hat_{c}": float(v)
            for c, v in zip("rgb", rng.uniform(0.03, 0.9) + 0.3 * rng.uniform(-1, 1, 3), strict=True)
        },
        "hat_low": rng.uniform(0.0, 1.0),
        "hand": float(rng.uniform() < 0.1),
        "hand_x": rng.uniform(-0.6, 0.6),
        "hand_y": rng.uniform(-0.1, 0.95),
        "hand_turn": rng.uniform(-np.pi, np.pi),
    }
    if rng.uniform() < 0.1 and values["hair_volume"] > 0.04:
        drawn |= {"hair_fringe": rng.uniform(0.7, 1.25), "hair_sweep": rng.uniform(-1.0, 1.0)}
    return drawn


def _framed(rng: np.random.Generator, values: dict[str, float]) -> np.ndarray:
    """Returns the parameters with about the scale and place in the picture that the frames of a finder have."""
    values |= {"scale": 1.0, "shift_x": 0.0, "shift_y": 0.0}
    face = np.array([values[name] for name in VARIED_NAMES], dtype=np.float32)
    points = (outline(face, 64)[:, :2] + 0.5) / 32.0 - 1.0
    low, high = points.min(0), points.max(0)
    scale = 2.0 * SHARE / float((high - low).mean()) * np.exp(rng.normal(0.0, 0.05))
    middle = np.array(CENTRE) + np.clip(rng.normal(0.0, 0.02, 2), -0.05, 0.05)
    x, y = 2.0 * middle - 1.0 - 0.5 * scale * (low + high)
    for name, value in {"scale": scale, "shift_x": x, "shift_y": y}.items():
        face[VARIED_NAMES.index(name)] = value
    return face
