"""The edit benchmark: edits of test persons held against the true images of the same faces with the attribute.

For each attribute, put on and taken off, and each way to edit (a row, see `edit_rows`), the judges of `edit_judges`
measure the edited faces. The persons are those of the rendered test split, on which neither the model, when it was
trained on rendered faces, nor a judge was trained. Labelled photos can take their place; their true edits are unknown.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from tqdm import auto as tqdm

from sdgan_jax import outputs, pretrained
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import edit_cases, edit_judges, edit_report, edit_rows, samples
from sdgan_jax.evaluation.edit_cases import Case
from sdgan_jax.evaluation.edit_judges import Judges, Seen, Values
from sdgan_jax.evaluation.edit_rows import Editors
from sdgan_jax.model import Model

NUM_PERSONS = 96  # in all; a third for each seed
RISING_FACES = 16  # faces of each case that are edited at all strengths
TRUE = "true"  # the row of the true edited faces: the best that any edit can reach
Measured = dict[str, dict[str, Values]]  # case -> row -> column


def evaluate_edits(
    model: Model,
    path: epath.PathLike | None,
    out_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    num_persons: int = NUM_PERSONS,
    variants: Mapping[str, Model] | None = None,
    photos: str | os.PathLike[str] | None = None,
    classifier_path: str | os.PathLike[str] = "",
) -> dict[str, Any]:
    """Measures the edits of a model, and writes tables and sheets.

    Writes `edits.txt`, `edits.json`, `edits.png` (each attribute put on) and `edits_<attribute>.png` (put on and taken
    off) into `out_dir`. Prepares the rendered data when they are not there yet.

    Args:
        model: the model, with attributes of `tfds_megn`.
        path: its directory, where `bases.safetensors` is looked for; None for the model's own basis alone.
        out_dir: folder for the results, local or remote.
        data_dir: folder of prepared data; None or "" is the model's own `config.data_dir`, else TFDS's default.
        num_persons: number of test persons, a third for each seed.
        variants: models with another F of the same G, by the names of their rows, such as `no_3d`.
        photos: labelled photos to use instead of rendered persons, see `edit_cases.photo_cases`.
        classifier_path: network directory of the classifier; "" for the one that comes with the project.

    Returns:
        The results as written to `edits.json`, see `summarise`.

    Raises:
        FileExistsError: a file that was not written by an evaluation is in the way.
        FileNotFoundError, OSError: photos are missing, or the disk is full or cannot be written.
        ValueError: the model has no attributes, or unknown ones; there are too few persons; a variant does not fit.
    """
    config, out_dir = model.config, epath.Path(out_dir)
    names = tuple(config.attributes)
    if reason := pretrained.attribute_refusal(names):
        raise ValueError(f"{reason}; there is no edit to measure")
    outputs.check_own([out_dir / name for name in edit_report.files(names)], edit_report.BY)
    bases = edit_rows.read_bases(path, names, config.generator.latent_dim) if path else {}
    editors = Editors(model, bases, variants or {})
    dataset = samples.rendered_config(config.dataset, config.resolution)
    faces = rendered.read(dataset, "test", data_dir or config.data_dir or None)
    if photos:
        cases = [edit_cases.photo_cases(photos, names, config.resolution)]
    else:
        cases = edit_cases.rendered_cases(faces, names, num_persons, config.resolution)
    judges = Judges(pretrained.attribute_classifier(classifier_path), pretrained.perceptual_network())
    out_dir.mkdir(parents=True, exist_ok=True)
    measured, shown = measure(editors, judges, cases)
    results = {
        "dataset": os.fspath(photos) if photos else f"megn/{dataset}",
        **_describe(model, judges, faces),
        "faces": {case.name: len(case.sources) for case in cases[0]},
        **summarise(measured),
    }
    edit_report.write(out_dir, results, shown, names)
    return results


def _describe(model: Model, judges: Judges, faces: rendered.Faces) -> dict[str, Any]:
    """Describes the model, and the judges by their accuracy on true faces."""
    fusion = model.config.fusion
    fused = "SPADE" if fusion.spade else "concatenation"
    return {
        "resolution": model.config.resolution,
        "latents": "encoder" if "E" in model.params else "optimisation",
        "sdgan": f"F {'with' if fusion.use_3d else 'without'} 3D, fused by {fused}" if "F" in model.params else "no F",
        "judges": {
            "classifier_accuracy": judges.classifier.held_out_accuracy,
            "classifier_images": judges.classifier.held_out_images,
            "verification": judges.measure_verification(faces),
        },
    }


def measure(
    editors: Editors, judges: Judges, cases: Sequence[Sequence[Case]]
) -> tuple[list[Measured], dict[str, dict[str, np.ndarray]]]:
    """Measures all rows of all cases.

    Args:
        editors: the ways to edit.
        judges: the networks that judge.
        cases: the cases of each seed.

    Returns:
        The columns of each row of each case, for each seed; and by case and row the first edited faces u8[n,R,R,3] of
        the first seed, for the sheets.
    """
    measured: list[Measured] = []
    shown: dict[str, dict[str, np.ndarray]] = {}
    total = sum(len(editors.names(case.removes)) for part in cases for case in part)
    with tqdm.tqdm(total=total, desc="Edits", unit="row", mininterval=0.5) as bar:
        for seed, part in enumerate(cases):
            table: Measured = {}
            seen_before: tuple[np.ndarray, Seen] | None = None
            for case in part:
                if seen_before is None or seen_before[0] is not case.sources:
                    seen_before = case.sources, judges.see(case.sources)
                table[case.name], images = _measure_case(editors, judges, case, seen_before[1], bar)
                if seed == 0:
                    shown[case.name] = images
            measured.append(table)
    return measured, shown


def _measure_case(
    editors: Editors, judges: Judges, case: Case, source: Seen, bar: tqdm.tqdm
) -> tuple[dict[str, Values], dict[str, np.ndarray]]:
    """Measures the rows of one case, the true edited faces last; also returns the first faces of each row."""
    truth = None if case.truths is None else judges.see(case.truths)
    references = judges.classify(case.references)[1] if len(case.references) else np.zeros((0, 0))
    rows: dict[str, Values] = {}
    images = {"source": case.sources[: edit_report.SHOWN]}
    if case.truths is not None:
        images[TRUE] = case.truths[: edit_report.SHOWN]
    for row in editors.rows(case):
        edited = row.draw(1.0, None)
        seen = source if row.name == "source" else judges.see(edited)
        values = judges.compare(case, seen, source, truth, references)
        if row.has_strength:
            values["monotone"] = judges.monotone(case, row.draw, RISING_FACES)
        rows[row.name] = values
        images[row.name] = edited[: edit_report.SHOWN]
        bar.update()
    if truth is not None:
        rows[TRUE] = judges.compare(case, truth, source, truth, references)
        ceiling = rows[TRUE]["id_source"]
        for values in rows.values():
            value = values["id_source"]
            values["of_ceiling"] = value / ceiling if value is not None and ceiling and ceiling > 0 else None
    return rows, images


def summarise(measured: Sequence[Measured]) -> dict[str, Any]:
    """Averages the measurements over the attributes and over the seeds.

    Args:
        measured: case, row and column of each seed.

    Returns:
        A dict (JSON) with `seeds`, and by the names of tables, `overall`, `adding`, `removing` and those of the cases,
        `tables`: row -> column -> `mean`, `std` (sample standard deviation over the seeds, None for one seed) and
        `values` (of each seed). A row of the averages is the mean over its cases; it is left out where a case of the
        table lacks it, such as `wear` where attributes are taken off.
    """
    names = list(measured[0])
    groups = {
        "overall": names,
        "adding": [name for name in names if not name.startswith("no ")],
        "removing": [name for name in names if name.startswith("no ")],
    }
    groups |= {name: [name] for name in names}
    tables = {}
    for title, members in groups.items():
        if not members:
            continue
        rows = [row for row in measured[0][members[0]] if all(row in measured[0][name] for name in members)]
        tables[title] = {
            row: {
                column: _over_seeds([[part[name][row].get(column) for name in members] for part in measured])
                for column in edit_judges.COLUMNS
            }
            for row in rows
        }
    return {"seeds": len(measured), "tables": tables}


def _over_seeds(values: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Averages values [seeds][cases]; what is unknown in a case is unknown in all."""
    means = [None if None in cases else statistics.fmean(v for v in cases if v is not None) for cases in values]
    known = [mean for mean in means if mean is not None]
    if len(known) < len(means):
        return {"mean": None, "std": None, "values": means}
    std = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "std": std, "values": means}
