"""Tables as text, and sheets of samples."""

import numpy as np
from PIL import Image

from sdgan_jax import pictures
from sdgan_jax.evaluation import report


def test_a_table_reads_well():
    text = report.text("errors", {"none": {"landmarks": 1.23456, "faces": 12}})
    assert text.split() == ["errors", "landmarks", "faces", "none", "1.235", "12"]


def test_sheets_show_generated_rows_above_real_ones(tmp_path):
    """Each image has one colour; the real ones are half as large and shown at the size of the generated ones."""
    generated = {"none": np.full((20, 8, 8, 3), 40, np.uint8), "mask": np.full((20, 8, 8, 3), 80, np.uint8)}
    reals = {name: np.full((20, 4, 4, 3), 200, np.uint8) for name in generated}
    report.write_sheets(tmp_path, generated, reals)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.png", "samples_mask.png", "samples_none.png"]
    sheet = np.asarray(Image.open(tmp_path / "samples_mask.png"))
    expected = np.concatenate((np.full((16, 8, 8, 3), 80, np.uint8), np.full((16, 8, 8, 3), 200, np.uint8)))
    labels = ["mask, generated", "", "mask, real", ""]
    np.testing.assert_array_equal(sheet, pictures.grid(expected, 8, row_labels=labels))
    overview = np.asarray(Image.open(tmp_path / "samples.png"))
    rows = np.repeat(np.uint8([40, 80]), 8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(overview, pictures.grid(rows, 8, row_labels=["none", "mask"]))
