"""Report on estimated bases: natural lengths, cosines, entanglement, and a traversal sheet of each estimator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tqdm import auto as tqdm

from sdgan_jax import latents, outputs, pictures
from sdgan_jax.config import ESTIMATORS, Config
from sdgan_jax.latents import Directions

BY = f"{outputs.MADE_BY} basis"
JSON, TEXT, SHEET = "basis.json", "basis.txt", "traversal_{}.png"
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)  # columns of a sheet
ROWS = 3  # latents of each attribute on a sheet

FILES = (JSON, TEXT, *(SHEET.format(name) for name in ESTIMATORS))

Found = Mapping[str, Directions]  # by the name of the estimator


class Probe(NamedTuple):
    """Functions that draw and judge the faces of latents, and latents to apply them to.

    Attributes:
        draw: faces f32[N,R,R,3], about [-1,1], of w f32[N,D].
        judge: the classifier's logits f32[N,C] for these faces.
        columns: column of the logits of each attribute of the model.
        plain: w f32[N,D] of faces that no basis has moved.
    """

    draw: Callable[[np.ndarray], np.ndarray]
    judge: Callable[[np.ndarray], np.ndarray]
    columns: list[int]
    plain: np.ndarray


def mean_length(directions: Directions) -> float:
    """Returns the mean natural length of the directions that there are, 0 where there are none."""
    there = directions.rows.any(axis=1)
    return float(directions.lengths[there].mean()) if there.any() else 0.0


def measure(
    probe: Probe, config: Config, found: Found, accuracy: np.ndarray, labels: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Measures bases.

    Args:
        probe: draws and judges faces of the model.
        config: names the attributes.
        found: the bases.
        accuracy: f32[A], held-out accuracy of the SVMs.
        labels: i32[N], the attributes of the samples.

    Returns:
        Plain numbers in dicts: `faces` (samples with each attribute), `svm_accuracy`, `cosines` (by pair of estimators
        and attribute), and `estimators`, with `basis_length` (mean of the natural lengths), `lengths` and
        `entanglement` (by moved and by judged attribute).
    """
    names = config.attributes

    def by_name(numbers: np.ndarray) -> dict[str, float | None]:
        """Names f32[A-1], or f32[A] with `none`; NaN becomes None, which JSON has."""
        known = names[len(names) - len(numbers) :]
        return {n: None if np.isnan(x) else float(x) for n, x in zip(known, numbers, strict=True)}

    changes = entanglement(probe, found)
    estimators = {
        estimator: {
            "basis_length": mean_length(directions),
            "lengths": by_name(directions.lengths[1:]),
            "entanglement": {name: by_name(row) for name, row in zip(names[1:], changes[estimator], strict=True)},
        }
        for estimator, directions in found.items()
    }
    return {
        "faces": {name: int((labels == number).sum()) for number, name in enumerate(names)},
        "svm_accuracy": by_name(accuracy[1:]),
        "cosines": {
            f"{one} {other}": by_name(cosines(found[one].rows, found[other].rows)[1:])
            for one, other in itertools.combinations(found, 2)
        },
        "estimators": estimators,
    }


def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns f32[A], the cosine of each unit row f32[A,D] with the same row of another basis."""
    return (rows * others).sum(axis=1)


def entanglement(probe: Probe, found: Found) -> dict[str, np.ndarray]:
    """Measures the change of each attribute's probability along each direction.

    Args:
        probe: judges its plain faces before and after the move.
        found: directions of A - 1 attributes and `none`; each basis moves the latents by the mean of its lengths.

    Returns:
        By estimator, f32[A-1,A], mean change of the probability of attribute j (column) after a move along attribute
        i + 1 (row).
    """

    def probabilities(w: np.ndarray) -> np.ndarray:
        return np.asarray(jax.nn.softmax(probe.judge(w)))[:, probe.columns].mean(axis=0)

    before, changes = probabilities(probe.plain), {}
    for estimator, directions in tqdm.tqdm(found.items(), desc="Measuring bases", unit="basis"):
        length = mean_length(directions)
        moved = [probabilities(_move(probe.plain, row, length)) for row in directions.rows[1:]]
        changes[estimator] = np.stack(moved) - before
    return changes


def draw_traversal(probe: Probe, config: Config, directions: Directions, length: float) -> np.ndarray:
    """Draws the traversal sheet u8[H,W,3] of a basis.

    For each attribute there are `ROWS` rows, one for each latent, and a column for each of `STRENGTHS`; strength 1 is
    the distance `length`.
    """
    w = [
        _move(probe.plain[:ROWS], row, strength * length) for row in directions.rows[1:] for strength in STRENGTHS
    ]  # ·S arrays of [ROWS,D]
    stacked = np.stack(w).reshape(config.num_attributes - 1, len(STRENGTHS), ROWS, -1).swapaxes(1, 2)
    images = pictures.to_uint8(probe.draw(stacked.reshape(-1, stacked.shape[-1])))
    labels = [name if number == 0 else "" for name in config.attributes[1:] for number in range(ROWS)]
    return pictures.grid(images, len(STRENGTHS), labels, [f"{strength:g}" for strength in STRENGTHS])


def write(folder: epath.Path, probe: Probe, config: Config, found: Found, results: Mapping[str, Any]) -> None:
    """Writes `basis.txt` and `traversal_<estimator>.png`."""
    for estimator, directions in found.items():
        sheet = draw_traversal(probe, config, directions, mean_length(directions))
        pictures.write_png(folder / SHEET.format(estimator), sheet, BY)
    outputs.write_text(folder / TEXT, table(results), BY)


def _move(w: np.ndarray, row: np.ndarray, distance: float) -> np.ndarray:
    """Moves latents f32[N,D] along a direction f32[D]."""
    return np.asarray(latents.edit(jnp.asarray(w), jnp.ones((len(w), 1)), jnp.asarray(row)[None], strength=distance))


def table(results: Mapping[str, Any]) -> str:
    """Formats the results as text."""
    names, judge = list(results["svm_accuracy"]), results["classifier"]
    lines = [
        f"Basis of {results['model']} from {results['samples']} latents of G: {results['estimator']}, "
        f"length {results['basis_length']:.2f}",
        f"  Judge: the attribute classifier, right on {judge['held_out_accuracy']:.3f} of {judge['held_out_images']} "
        "rendered faces of people it never saw.",
        "",
        "Natural length of each direction: distance from faces without the attribute to faces with it",
        _row("", [*names, "mean"]),
    ]
    for estimator, values in results["estimators"].items():
        lines.append(_row(estimator, [*values["lengths"].values(), values["basis_length"]]))
    lines += [
        "",
        "Faces that show the attribute, and accuracy of the SVM on held-out latents",
        _row("", names),
        _row("faces", [str(results["faces"][name]) for name in names]),
        _row("svm accuracy", list(results["svm_accuracy"].values())),
        "",
        "Cosine between estimators",
        _row("", names),
        *(_row(pair, list(values.values())) for pair, values in results["cosines"].items()),
    ]
    for estimator, values in results["estimators"].items():
        lines += [
            "",
            f"Entanglement of {estimator}: mean change of each attribute's probability (columns) when plain faces move "
            f"by {values['basis_length']:.2f}",
            _row("", ["none", *names]),
            *(_row(name, list(row.values())) for name, row in values["entanglement"].items()),
        ]
    return "\n".join(lines) + "\n"


def _row(name: str, cells: Sequence[str | float | None]) -> str:
    """Formats a line of the table."""
    texts = ("-" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}" for cell in cells)
    return f"{name:24}" + "".join(f"{text:>12}" for text in texts)
