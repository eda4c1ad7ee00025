"""Streams of data sets with images that cannot be read."""

import shutil

import numpy as np
import pytest

from sdgan_jax.data import broken, stream
from tests.data import damage
from tests.data.tiny_sets import TRAIN, VALIDATION, changed, numbers, take


def test_a_broken_image_is_named_in_one_line(config):
    with pytest.raises(ValueError, match=r"^tiny_kinds/broken, split train, image 0: .*(broken|truncated)") as raised:
        stream.first_images(changed(config, dataset="tiny_kinds/broken"), 1)
    assert "\n" not in str(raised.value)


def broken_copy(config, folder, records):
    """Copies the tiny faces, and damages some records of the training split; returns the config of the copy."""
    stream.Examples(config, "train")  # prepares them
    copied = changed(config, data_dir=str(shutil.copytree(config.data_dir, folder / "copy")))
    damage.flip_bits(copied, records)
    return copied


def replaced(config, seen, records):
    """The numbers of pictures that are seen in place of `seen` when records are broken: each is the next one."""
    stored = stream.Examples(config, "train").read(range(TRAIN))["image"][:, 0, 0, 0].tolist()
    for record in sorted(records, reverse=True):
        seen = [stored[(record + 1) % TRAIN] if n == stored[record] else n for n in seen]
        stored[record] = stored[(record + 1) % TRAIN]
    return seen


BROKEN = (2, 3, TRAIN - 1)  # the image after 2 is broken, too, and after the last comes the first


def test_an_image_that_cannot_be_read_is_replaced_by_the_next_and_named_once(config, tmp_path, capfd):
    damaged = broken_copy(config, tmp_path, BROKEN)
    expected = replaced(config, numbers(take(config, 9)), BROKEN)
    iterator = stream.train_iterator(damaged)
    assert numbers([next(iterator) for _ in range(9)]) == expected
    assert iterator.skipped == set(BROKEN)
    iterator.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("left out")]
    assert len(lines) == len(BROKEN)
    for record in BROKEN:
        (line,) = [line for line in lines if f"image {record}: " in line]
        assert line.startswith(
            f"left out, replaced by the next image: tiny_faces, split train, image {record}: Corrupted"
        )
        assert line.endswith(
            f"(record {record} of {damaged.data_dir}/tiny_faces/1.0.0/tiny_faces-train.array_record-00000-of-00001)"
        )
    parts = [take(damaged, 9, process_index=p, process_count=2) for p in range(2)]
    assert np.stack([np.reshape(numbers(part), (9, 2)) for part in parts], 1).ravel().tolist() == expected
    assert numbers(take(damaged, 4, start=5)) == expected[20:]


@pytest.mark.slow
def test_worker_processes_replace_broken_images_as_threads_do(config, tmp_path):
    damaged = changed(broken_copy(config, tmp_path, BROKEN), data_workers=2)
    iterator = stream.train_iterator(damaged)
    batches = [next(iterator) for _ in range(6)]
    iterator.close()
    assert numbers(batches) == replaced(config, numbers(take(config, 6)), BROKEN)
    assert iterator.skipped <= set(BROKEN) and len(iterator.skipped) > 1


def test_a_batch_of_broken_images_is_counted_and_one_of_too_many_is_refused_in_one_line(config, tmp_path, monkeypatch):
    damaged = changed(broken_copy(config, tmp_path, range(4, 8)), batch_size=8, max_skipped=2)
    iterator = stream.train_iterator(damaged)
    next(iterator)
    assert len(iterator.skipped) == 4  # the training is told, which ends in all its processes
    iterator.close()
    monkeypatch.setattr(stream, "_READ_ON", 0)
    with pytest.raises(ValueError, match=r"image \d: Corrupted .*; 3 images cannot be .*max_skipped is 2: ") as raised:
        take(damaged, 1)
    assert "\n" not in str(raised.value)


def test_a_data_set_without_a_whole_image_is_refused(config):
    with pytest.raises(ValueError, match=r"^tiny_kinds/broken, .*; 6 images cannot be read"):
        take(changed(config, dataset="tiny_kinds/broken", max_skipped=100), 1)


def test_sheets_leave_broken_images_out(config, tmp_path):
    damaged = broken_copy(config, tmp_path, (0,))
    seen, whole = (numbers([stream.first_images(c, TRAIN + VALIDATION)]) for c in (damaged, config))
    assert seen == whole[:VALIDATION] + whole[VALIDATION + 1 :]


def test_broken_images_of_a_split_are_replaced_and_named(config, tmp_path):
    damaged = broken_copy(config, tmp_path, BROKEN)
    batch, skipped = stream.Examples(damaged, "train").read_whole([TRAIN - 1, 2, 4])
    whole, none = stream.Examples(config, "train").read_whole([0, 4, 4])
    np.testing.assert_array_equal(batch["image"], whole["image"])
    assert set(skipped) == set(BROKEN) and not none
    kinds = stream.Examples(changed(config, dataset="tiny_kinds/broken"), "train")
    with pytest.raises(broken.BrokenImageError, match=r"^tiny_kinds/broken, split train, image \d"):
        kinds.read_whole([0])


@pytest.mark.parametrize(
    ("text", "reason"), [("", "Expecting value"), ('{"name": ', "Expecting value"), (None, "has not been generated")]
)
def test_a_folder_that_was_written_by_halves_is_named(config, tmp_path, text, reason):
    damaged = broken_copy(config, tmp_path, ())
    (file,) = (tmp_path / "copy").rglob("tiny_faces/1.0.0/dataset_info.json")
    file.unlink() if text is None else file.write_text(text)
    words = rf"^tiny_faces: its folder in {tmp_path}/copy is incomplete or damaged \(.*{reason}.*; move it away, and"
    with pytest.raises(ValueError, match=words) as raised:
        stream.train_iterator(damaged)
    assert "\n" not in str(raised.value)
