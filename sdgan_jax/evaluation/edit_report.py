"""Results of the edit benchmark as text and as sheets of images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures
from sdgan_jax.evaluation.edit_judges import COLUMNS, WITHOUT_TRUTH
from sdgan_jax.evaluation.report import BY

SHOWN = 8  # faces of each case that are kept for the sheets
OVERVIEW = 3  # persons on the sheet of all attributes
SHORT_COLUMNS = ("accuracy", "of_ceiling", "l1_inside", "l1_outside", "perceptual")


def files(names: Sequence[str]) -> list[str]:
    """Returns the names of the files that the benchmark writes, for the attributes of a model."""
    return ["edits.txt", "edits.json", "edits.png", *(f"edits_{name}.png" for name in names[1:])]


def write(
    out_dir: str | os.PathLike[str],
    results: Mapping[str, Any],
    images: Mapping[str, Mapping[str, np.ndarray]],
    names: Sequence[str],
) -> None:
    """Writes `edits.json`, `edits.txt` and the sheets; for the arguments see `table` and `write_sheets`."""
    out_dir = epath.Path(out_dir)
    outputs.write_json(out_dir / "edits.json", results, BY)
    outputs.write_text(out_dir / "edits.txt", table(results), BY)
    write_sheets(out_dir, images, names)


def table(results: Mapping[str, Any]) -> str:
    """Formats the results of `edits.evaluate_edits` as text: judges, columns, the averages, and each edit."""
    judges, seeds = results["judges"], results["seeds"]
    counts = results["faces"].values()
    shown = [name for name in COLUMNS if _is_known(results, name)]
    spread = f", {seeds} seeds of different persons: mean±standard deviation" if seeds > 1 else ""
    between = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    lines = [
        f"Edits of {between} faces for each attribute and seed ({results['dataset']}){spread}",
        f"{results['resolution']} pixels; latents found by the {results['latents']}; sdgan: {results['sdgan']}",
        "",
        "The judges on true images of persons that they never saw:",
        f"  classifier: right on {judges['classifier_accuracy']:.3f} of {judges['classifier_images']} faces",
        f"  identity network: {_describe_verification(judges['verification'])}",
        "",
        *(f"{name:<12}{COLUMNS[name]}" for name in shown),
    ]
    titles = {"overall": "Overall, mean over all edits", "adding": "Putting on, mean", "removing": "Taking off, mean"}
    for name, rows in results["tables"].items():
        lines += ["", *block(titles.get(name, name), rows, shown)]
    return "\n".join(lines) + "\n"


def short_table(results: Mapping[str, Any]) -> str:
    """Formats the source, the bases and SD-GAN in a few columns, averaged over all edits, with the best possible."""
    rows = results["tables"]["overall"]
    chosen = {name: rows[name] for name in rows if name in ("source", "sdgan", "true") or name.startswith("basis")}
    shown = [name for name in SHORT_COLUMNS if _is_known(results, name)]
    return "\n".join(block("Edits of test persons", chosen, shown)) + "\n"


def write_sheets(
    out_dir: str | os.PathLike[str], images: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str]
) -> None:
    """Writes `edits.png`, a few persons with each attribute, and `edits_<attribute>.png`, more of one attribute.

    Args:
        out_dir: folder, local or remote.
        images: u8[N,R,R,3] of each way to edit (the columns), of each case (blocks of rows).
        names: the attributes, `none` first.
    """
    out_dir = epath.Path(out_dir)
    overview = {name: OVERVIEW for name in names[1:] if name in images}
    blocks = {"edits.png": overview or {f"no {name}": OVERVIEW for name in names[1:] if f"no {name}" in images}}
    for name in names[1:]:
        blocks[f"edits_{name}.png"] = {case: SHOWN for case in (name, f"no {name}") if case in images}
    for file, chosen in blocks.items():
        if chosen:
            pictures.write_png(out_dir / file, _sheet(images, chosen), BY)


def _sheet(images: Mapping[str, Mapping[str, np.ndarray]], chosen: Mapping[str, int]) -> np.ndarray:
    """Draws the first faces of cases; a way to edit that a case lacks stays white there."""
    columns = list(dict.fromkeys(column for case in chosen for column in images[case]))
    cells: list[np.ndarray] = []
    labels: list[str] = []
    for case, most in chosen.items():
        source = images[case]["source"][:most]
        white = np.full_like(source, 255)
        block = np.stack([images[case].get(column, white)[:most] for column in columns], 1)  # [N,columns,R,R,3]
        cells.append(block.reshape(-1, *source.shape[1:]))
        labels += [case] * len(source)
    return pictures.grid(np.concatenate(cells), len(columns), row_labels=labels, column_labels=columns)


def block(title: str, rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Formats one table as lines.

    Args:
        title: its heading.
        rows: row -> column -> `mean` and `std`, None where they are unknown.
        columns: the columns to show.
    """
    cells = [[title, *columns]]
    cells += [[name, *(_cell(column, values[column]) for column in columns)] for name, values in rows.items()]
    widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
    return [
        line[0].ljust(widths[0]) + "".join(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in cells
    ]


def _cell(column: str, value: Mapping[str, Any]) -> str:
    """Formats a mean and its standard deviation."""
    digits = 2 if column == "frechet" else 4 if column in ("l1", "l1_inside", "l1_outside", "perceptual") else 3
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.{digits}f}" + ("" if value["std"] is None else f"±{value['std']:.{digits}f}")


def _is_known(results: Mapping[str, Any], column: str) -> bool:
    """Returns whether a column is to be shown: where there is no truth, only those that need none."""
    has_truth = any("true" in rows for rows in results["tables"].values())
    return has_truth or column in WITHOUT_TRUTH


def _describe_verification(found: Mapping[str, Any] | None) -> str:
    """Describes the test of the identity network."""
    if found is None:
        return "not tested, too few pairs of faces"
    return (
        f"right on {found['accuracy']:.3f} of {found['pairs']} pairs (one person or two, one face with an attribute); "
        f"cosine {found['same']:.2f} of one person, {found['different']:.2f} of two"
    )
