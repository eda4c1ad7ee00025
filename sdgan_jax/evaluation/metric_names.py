"""Grammar of the names of metrics: `[<features>_]<kind>[<number>]`, such as `fid50k` and `classifier_kid2k`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

NUMBER = 50_000  # images, as in published numbers
MOST = 10_000_000  # images
FID, KID, PR, DC, IS, PPL = "fid", "kid", "pr", "dc", "is", "ppl"
LEAST = {FID: 2, KID: 2, PR: 4, DC: 6, IS: 10, PPL: 1}  # images that a metric needs: more than its neighbours
INCEPTION, CLASSIFIER, IDENTITY = "inception", "classifier", "identity"  # features
LPIPS, PERCEPTUAL = "lpips", "perceptual"  # distances of PPL

KNOWN = (
    "fid50k, kid50k, pr50k, dc50k, is50k (features of Inception), classifier_fid50k, identity_fid50k, … (the same but "
    "is50k, on our own networks), ppl50k, ppl_wfull50k, ppl_zend50k, ppl_zfull50k (LPIPS) and perceptual_ppl50k, … "
    "(our own networks); the number is that of the images, such as 2k or 500"
)
_DISTANCE = re.compile(rf"(?:({CLASSIFIER}|{IDENTITY})_)?({FID}|{KID}|{PR}|{DC})(\d+k?)?")
_SCORE = re.compile(rf"(){IS}(\d+k?)?")
_PATH = re.compile(rf"(?:({PERCEPTUAL})_)?{PPL}(?:_([wz])(full|end))?(\d+k?)?")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric to compute.

    Attributes:
        name: the name that was asked for.
        kind: `FID`, `KID`, `PR`, `DC` (density and coverage), `IS` or `PPL`.
        network: name of the features, or of the distance of PPL.
        number: number of images, or of steps of PPL.
        space: of PPL, "w" or "z".
        sampling: of PPL, "end" or "full".
    """

    name: str
    kind: str
    network: str
    number: int
    space: str = ""
    sampling: str = ""

    @property
    def compares(self) -> bool:
        """Returns whether the metric compares images with others; IS is of one set, PPL of a model alone."""
        return self.kind not in (IS, PPL)


def parse(names: Sequence[str]) -> list[Metric]:
    """Reads names of metrics; a name without a number asks for `NUMBER` images.

    Raises:
        ValueError: a name is unknown (the message lists the known ones), or its number is too small or too large.
    """
    return [_parse(name.strip()) for name in dict.fromkeys(names)]


def _parse(name: str) -> Metric:
    """Reads one name."""
    if match := _DISTANCE.fullmatch(name):
        metric = Metric(name, match[2], match[1] or INCEPTION, _number(match[3]))
    elif match := _SCORE.fullmatch(name):
        metric = Metric(name, IS, INCEPTION, _number(match[2]))
    elif match := _PATH.fullmatch(name):
        metric = Metric(name, PPL, match[1] or LPIPS, _number(match[4]), match[2] or "w", match[3] or "end")
    else:
        raise ValueError(f"unknown metric {name!r}; the metrics are {KNOWN}")
    if metric.number < LEAST[metric.kind]:
        raise ValueError(f"{name}: at least {LEAST[metric.kind]} images are needed")
    if metric.number > MOST:
        raise ValueError(f"{name[:50]}: at most {MOST:,} images can be asked for, such as {NUMBER // 1000}k")
    return metric


def _number(text: str | None) -> int:
    """Returns the number of a name: "2k" is 2000; a larger one than `MOST` is `MOST + 1`."""
    if not text:
        return NUMBER
    number = float(text.removesuffix("k"))  # `int` refuses thousands of digits
    return int(min(1000 * number if text.endswith("k") else number, MOST + 1))
