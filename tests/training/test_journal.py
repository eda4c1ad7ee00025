"""The output of a training: records, their means, and what a killed process left."""

import dataclasses
import json
import re
import types

import jax
import numpy as np
from etils import epath
from PIL import Image

from sdgan_jax.training import journal


@dataclasses.dataclass
class Config:
    batch_size: int = 8
    total_steps: int = 20
    profile_steps: int = 0
    wandb: str = ""


def test_records_and_lines(tmp_path, capfd):
    with journal.Journal(epath.Path(tmp_path), Config(), ("loss",)) as book:
        book.start(0)
        for _ in range(10):
            book.advance()
        book.write(10, {"loss": 0.25, "other": 2.0})
    (record,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert record["step"] == 10 and record["kimg"] == 0.08 and record["loss"] == 0.25 and record["other"] == 2.0
    assert record["images_per_second"] > 0 and 0 <= record["input_wait"] <= 1 and 0 <= record["goodput"] <= 1
    out, _ = capfd.readouterr()
    assert "step 10  loss 0.250" in out and "other" not in out
    assert "Time:        0:00:00 since the first start, goodput " in out
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_records_of_later_steps_and_cut_lines_are_dropped_at_a_start(tmp_path):
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (5, 10, 15)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines[:2], '{"step": 12, "lo', lines[2]]) + "\n")
    with journal.Journal(epath.Path(tmp_path), Config(), ()) as book:
        book.start(10)
    kept = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in kept] == [5, 10]


def test_a_process_that_is_not_the_first_prints_its_name_alone(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    monkeypatch.setattr(journal, "peak_memory", lambda: 5.125)
    with journal.Journal(epath.Path(tmp_path), Config(), ("loss",)) as book:
        book.start(0)
        book.advance()
        book.write(1, {"loss": 0.25})
        book.write_values(1, {"score": 2.0})
        book.write_sheets(1, {"grey": np.zeros((2, 2, 3), np.uint8)})
        book.note_checkpoint(1)
    out, err = capfd.readouterr()
    assert re.fullmatch(
        r"process 3 of 4 on \S+: step 1, \d+ images/s, \d+% waiting for data, 5.12 GiB on a device\n", out
    )
    assert not err and not list(tmp_path.iterdir())


def test_memory_of_devices(monkeypatch):
    """The fullest device counts; the backend of CPUs says nothing."""
    assert journal.peak_memory() is None
    devices = [types.SimpleNamespace(memory_stats=lambda n=n: {"peak_bytes_in_use": n * 2**30}) for n in (1, 3)]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert journal.peak_memory() == 3.0


def test_sheets_and_a_picture_of_the_user_in_the_way(tmp_path, capfd):
    sheet = np.full((4, 6, 3), 200, np.uint8)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "mine_000010.png").write_bytes(b"a picture of the user")
    with journal.Journal(epath.Path(tmp_path), Config(), ()) as book:
        book.start(0)
        book.write_sheets(10, {"x_hat": sheet, "mine": sheet})
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "samples" / "x_hat_000010.png")), sheet)
    assert (tmp_path / "samples" / "mine_000010.png").read_bytes() == b"a picture of the user"
    assert "mine_000010.png exists" in capfd.readouterr().out
