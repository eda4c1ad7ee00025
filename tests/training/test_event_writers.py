"""The files of TensorBoard and W&B, read back by the protocol buffers of tensorboardX and of W&B."""

import dataclasses
import importlib.util
import json
import struct

import numpy as np
import pytest
from etils import epath

from sdgan_jax.training import event_writers
from tests.training import tiny

SHEET = np.full((4, 6, 3), 200, np.uint8)
CONFIG = tiny.config()


def read_events(folder):
    """Yields the values of all event files: records of a length, its checksum, the event and its checksum."""
    from tensorboardX.proto import event_pb2

    for path in sorted(folder.glob("events.out.tfevents*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                yield event.step, value


def test_tensorboard_shows_numbers_pictures_and_the_config(tmp_path):
    writer = event_writers.TensorBoard(epath.Path(tmp_path), CONFIG, 0)
    writer.write_numbers({"step": 7, "loss": 0.25})
    writer.write_sheet(7, "x_hat", SHEET)
    writer.close()
    found = {value.tag.split("/")[0]: (step, value) for step, value in read_events(tmp_path)}
    assert found["loss"][0] == 7 and found["loss"][1].simple_value == 0.25
    assert (found["x_hat"][1].image.height, found["x_hat"][1].image.width) == (4, 6)
    (text,) = found["config"][1].tensor.string_val
    shown = "\n".join(line.removeprefix("    ") for line in text.decode().splitlines())
    assert json.loads(shown)["dataset"] == "tiny_run_faces"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    event_writers.check(CONFIG)
    with pytest.raises(ValueError, match=r"^--config.wandb=faces needs Weights & Biases: pip install -e '.\[wandb\]'"):
        event_writers.check(dataclasses.replace(CONFIG, wandb="faces"))


def read_log(data):
    """Yields the records of a W&B file: seven bytes, then LevelDB's log of blocks of 32 KiB."""
    at, record = 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)  # checksum, length, kind: 1 whole, 2 to 4 its parts
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def read_wandb(folder):
    """Returns the logged rows of all offline runs in the order of their starts, and their ids."""
    from wandb.proto import wandb_internal_pb2

    rows, ids = [], []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in read_log(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.append(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    return rows, ids


def test_weights_and_biases_continues_the_run_of_a_workdir(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", exc_type=ImportError)
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = dataclasses.replace(CONFIG, wandb="faces")
    for step in (7, 8):
        writer = event_writers.WeightsAndBiases(epath.Path(tmp_path), config)
        writer.write_numbers({"step": step, "loss": step / 4})
        writer.write_sheet(step, "x_hat", SHEET)
        writer.close()
    wandb.teardown()  # its service has written all files when it has ended
    rows, ids = read_wandb(tmp_path)
    assert [(row["_step"], row["loss"], "x_hat" in row) for row in rows] == [(7, 1.75, True), (8, 2.0, True)]
    assert set(ids) == {json.loads((tmp_path / "wandb_run.json").read_text())["id"]}
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/x_hat*.png"))) == 2
