"""Results as text and as sheets of images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from sdgan_jax import outputs, pictures

BY = f"{outputs.MADE_BY} evaluate"
SHEET_COLUMNS, SHEET_ROWS = 8, 3

Table = dict[str, dict[str, float]]  # column name -> value, for each row name


def write_sheets(
    out_dir: str | os.PathLike[str], generated: Mapping[str, np.ndarray], reals: Mapping[str, np.ndarray]
) -> None:
    """Writes `samples.png` and, for each attribute, `samples_<attribute>.png`.

    Args:
        out_dir: folder, local or remote.
        generated: generated images u8[N,R,R,3] of each attribute.
        reals: real images u8[M,S,S,3] of each attribute; shown at the size of the generated images.
    """
    out_dir = epath.Path(out_dir)
    columns = min(SHEET_COLUMNS, *(len(images) for images in (*generated.values(), *reals.values())))
    overview = np.concatenate([images[:columns] for images in generated.values()])
    pictures.write_png(out_dir / "samples.png", pictures.grid(overview, columns, row_labels=list(generated)), BY)
    for name, images in generated.items():
        shown, labels = [], []
        for kind, source in (("generated", images), ("real", pictures.resize(reals[name], *images.shape[1:3]))):
            rows = min(SHEET_ROWS, len(source) // columns)
            shown.append(source[: rows * columns])
            labels += [f"{name}, {kind}"] + [""] * (rows - 1)
        sheet = pictures.grid(np.concatenate(shown), columns, row_labels=labels)
        pictures.write_png(out_dir / f"samples_{name}.png", sheet, BY)


def table(results: Mapping[str, Any]) -> str:
    """Formats the results of `evaluate_model` as text; each block explains its numbers."""
    names, counts = results["attributes"], results["images"]
    scores, spread, judge = results["attribute_accuracy"], results["diversity"], results["classifier"]
    share = results["face_share"]
    kid_, frechet_ = results["classifier_kid"], results["classifier_frechet_distance"]
    width = max(map(len, names)) + 2
    lines = [
        f"{counts['generated']} generated images, {counts['real']} real ones ({results['dataset']}, test)",
        "",
        f"Attribute accuracy: {scores['overall']:.3f} (real images: {scores['real']:.3f})",
        "  Share of the images in which the classifier sees the attribute that was asked for; 1/6 = 0.167 is",
        f"  guessing. On {judge['held_out_images']} images of its own data set, of people it never saw: "
        f"{judge['held_out_accuracy']:.3f}.",
        "",
        f"Share of faces: {share['overall']['generated']:.3f} (real images: {share['overall']['real']:.3f})",
        f"  Share of {counts['looked_at']} images that the position network, which learned nothing of attributes,",
        f"  takes for a face. Generated / real: {_ratio(share['overall'])}.",
        "",
        f"Within-class diversity, generated / real: {spread['mean_ratio']:.3f}",
        "  Mean distance between the classifier features of two faces with the same attribute, as a share of",
        "  that for real faces: 1 is as varied as real faces, 0 is always the same face.",
        "",
        f"{'':{width}}{'accuracy':>9}{'real':>7}{'faces':>8}{'real':>7}{'ratio':>7}{'diversity':>11}{'real':>7}{'ratio':>7}",
    ]
    for name in names:
        row, faces = spread["per_class"][name], share["per_class"][name]
        lines.append(
            f"{name:{width}}{scores['per_class'][name]:9.3f}{scores['real_per_class'][name]:7.3f}"
            f"{faces['generated']:8.3f}{faces['real']:7.3f}{_ratio(faces):>7}"
            f"{row['generated']:11.2f}{row['real']:7.2f}{row['ratio']:7.3f}"
        )
    lines += [
        "",
        f"classifier_kid: {kid_['generated']:.4f} (real against other real: {kid_['real']:.4f})",
        "  KID's kernel distance, generated to real images, on these features; 0: no difference.",
        f"classifier_frechet_distance: {frechet_['generated']:.2f} (real against other real: {frechet_['real']:.2f})",
        "  Fréchet distance of the same features, each set as a Gaussian; the real one is the floor.",
        f"  Both on {counts['in_distances']} images of each set. Not Inception features, so not KID and FID",
        "  of papers: compare them only with others measured here.",
        "",
        "Confusion matrix (rows: asked for; columns: seen by the classifier)",
        " " * width + "".join(f"{name:>{width}}" for name in names),
    ]
    for name, row in zip(names, results["confusion_matrix"], strict=True):
        lines.append(f"{name:{width}}" + "".join(f"{count:{width}d}" for count in row))
    return "\n".join(lines) + "\n"


def _ratio(shares: Mapping[str, float | None]) -> str:
    """Formats the ratio of two shares; a dash where it is unknown."""
    return "-" if shares["ratio"] is None else f"{shares['ratio']:.3f}"


def text(title: str, table: Table) -> str:
    """Formats a table under a title, without a line break at the end."""
    columns = list(next(iter(table.values())))
    lines = [f"{title:<24}" + "".join(f"{column:>12}" for column in columns)]
    for name, row in table.items():
        cells = (f"{value:>12}" if isinstance(value, int) else f"{value:>12.3f}" for value in row.values())
        lines.append(f"{name:<24}" + "".join(cells))
    return "\n".join(lines)
