"""Tables and sheets of the edit benchmark."""

import numpy as np
from PIL import Image

from sdgan_jax import pictures
from sdgan_jax.evaluation import edit_judges, edit_report

NAMES = ("none", "mask", "beard")


def results():
    def row(value):
        cell = {"mean": value, "std": 0.01, "values": [value]}
        return dict.fromkeys(edit_judges.COLUMNS, cell) | {"monotone": {"mean": None, "std": None, "values": [None]}}

    rows = {name: row(0.5 + index / 10) for index, name in enumerate(("source", "wear", "basis:svm", "sdgan", "true"))}
    verification = {"accuracy": 0.95, "pairs": 200, "same": 0.8, "different": 0.1}
    return {
        "dataset": "megn/rendered_64",
        "resolution": 64,
        "faces": {"mask": 8, "no mask": 8},
        "latents": "encoder",
        "sdgan": "F with 3D, fused by SPADE",
        "judges": {"classifier_accuracy": 0.96, "classifier_images": 900, "verification": verification},
        "seeds": 3,
        "tables": {"overall": rows, "mask": rows},
    }


def test_the_table_states_the_judges_and_each_row():
    text = edit_report.table(results())
    lines = [line.split() for line in text.splitlines()]
    assert "classifier: right on 0.960 of 900 faces" in text and "right on 0.950 of 200 pairs" in text
    assert ["sdgan", *["0.800±0.010"] * 4, *["0.8000±0.0100"] * 4, "0.800±0.010", "0.80±0.01", "-"] in lines
    assert lines.count(["source", *lines[-5][1:]]) == 2  # in both tables
    assert max(map(len, text.splitlines())) < 180


def test_the_short_table_has_a_few_rows_and_columns():
    lines = [line.split() for line in edit_report.short_table(results()).splitlines()]
    assert lines[0][-5:] == ["accuracy", "of_ceiling", "l1_inside", "l1_outside", "perceptual"]
    assert [line[0] for line in lines[1:]] == ["source", "basis:svm", "sdgan", "true"]
    assert lines[3] == ["sdgan", "0.800±0.010", "0.800±0.010", "0.8000±0.0100", "0.8000±0.0100", "0.8000±0.0100"]


def test_sheets_show_the_first_faces_of_each_case(tmp_path):
    shades = {"source": 10, "true": 60, "wear": 110, "sdgan": 160}
    images = {
        case: {
            column: np.full((10, 100, 100, 3), shade + shift, np.uint8)
            for column, shade in shades.items()
            if not (column == "wear" and case.startswith("no "))
        }
        for shift, case in enumerate(("mask", "beard", "no mask"))
    }
    edit_report.write_sheets(tmp_path, images, NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edits.png", "edits_beard.png", "edits_mask.png"]
    columns = list(shades)
    cells = np.stack([images[case][column][0] for case in ("mask", "beard") for _ in range(3) for column in columns])
    expected = pictures.grid(cells, 4, row_labels=["mask"] * 3 + ["beard"] * 3, column_labels=columns)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "edits.png")), expected)
    white = np.full((100, 100, 3), 255, np.uint8)
    rows = [case for case in ("mask", "no mask") for _ in range(8)]
    cells = [images[case].get(column, [white])[0] for case in rows for column in columns]
    expected = pictures.grid(np.stack(cells), 4, row_labels=rows, column_labels=columns)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "edits_mask.png")), expected)
