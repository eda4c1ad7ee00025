"""Prepared data in an object store: one in memory here, a real one in `tests/end_to_end/test_remote.py`."""

import concurrent.futures
import time

import pytest
from etils import epath

import tfds_megn
from tests import object_store
from tfds_megn import megn_dataset_builder, remote_data, workers


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"{object_store.install(monkeypatch)}/data"


def files(folder):
    return {path.name: path.read_bytes() for path in epath.Path(folder).iterdir()}


def test_local_folders_stay(tmp_path):
    assert remote_data.local_folder(tmp_path) == str(tmp_path) and remote_data.local_folder(None) is None
    assert not remote_data.fetch(tmp_path, epath.Path(tmp_path / "megn"))
    remote_data.publish(tmp_path, epath.Path(tmp_path / "megn"), True)


def test_data_are_prepared_here_published_and_fetched_elsewhere(tmp_path, store, monkeypatch, capfd):
    """Another machine, whose cache is empty, reads what the first one prepared; a third call copies nothing."""
    here = tfds_megn.data_source("rendered_32_n30", data_dir=store)
    remote = epath.Path(store) / "megn" / "rendered_32_n30" / "1.0.0"
    assert "dataset_info.json" in files(remote)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(workers, "map_ordered", None)  # nothing is rendered
    there = tfds_megn.data_source("rendered_32_n30", data_dir=store)
    assert [example["id"] for example in here] == [example["id"] for example in there]
    local = epath.Path(remote_data.local_folder(store)) / "megn" / "rendered_32_n30" / "1.0.0"
    assert files(local) == files(remote)
    capfd.readouterr()
    tfds_megn.data_source("rendered_32_n30", split="test", data_dir=store)
    assert capfd.readouterr().err == ""


def test_a_publication_that_was_cut_off_is_made_up_for(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(remote_data, "_copy", lambda *folders: (_ for _ in ()).throw(ConnectionError("gone")))
        with pytest.raises(ConnectionError):
            tfds_megn.data_source("rendered_32_n30", data_dir=store)
    remote = epath.Path(store) / "megn" / "rendered_32_n30" / "1.0.0"
    assert not remote.exists()
    tfds_megn.data_source("rendered_32_n30", data_dir=store)
    assert "dataset_info.json" in files(remote)


def test_a_copy_of_other_data_is_replaced(tmp_path, store):
    remote, local = epath.Path(store) / "x", epath.Path(remote_data.local_folder(store)) / "x"
    assert not remote_data.fetch(store, local)  # nothing is prepared
    for version, names in (("1", ("a", "b")), ("2", ("a",))):
        if remote.exists():
            remote.rmtree()
        for name in (*names, "dataset_info.json"):
            (remote / name).write_text(version)
        assert remote_data.fetch(store, local) and not remote_data.fetch(store, local)
        assert files(local) == files(remote)


def test_a_fetch_that_is_cut_off_is_repeated(tmp_path, store, monkeypatch):
    remote, local = epath.Path(store) / "x", epath.Path(remote_data.local_folder(store)) / "x"
    for name in ("a", "z", "dataset_info.json"):
        (remote / name).write_text(name)
    true = type(remote).copy

    def copy(path, *arguments, **options):
        if path.name == "z":
            raise ConnectionError("gone")
        return true(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(remote), "copy", copy)
        with pytest.raises(ConnectionError):
            remote_data.fetch(store, local)
    assert [path.name for path in local.parent.iterdir()] == ["x.lock"]
    assert remote_data.fetch(store, local) and files(local) == files(remote)


def test_calls_at_once_copy_once_and_a_reader_keeps_its_file(tmp_path, store, monkeypatch):
    """The copy here is an older one, then there is none; a copy that another call finished is complete."""
    remote, local = epath.Path(store) / "x", epath.Path(remote_data.local_folder(store)) / "x"
    true = type(remote).copy

    def copy(*arguments, **options):
        time.sleep(0.02)  # as over a network
        return true(*arguments, **options)

    monkeypatch.setattr(type(remote), "copy", copy)

    def fetch(delay):
        time.sleep(delay)
        return remote_data.fetch(store, local), files(local)

    local.mkdir(parents=True)
    for name in ("a", "old", "dataset_info.json"):
        (local / name).write_text("older")
    names = [*"abcd", "dataset_info.json"]
    for name in names:
        (remote / name).write_text("newer")
    with open(local / "old") as reader, concurrent.futures.ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            copied, found = zip(*threads.map(fetch, (0, 0, 0.03, 0.06)))
            assert sum(copied) == 1 and found == 4 * (dict.fromkeys(names, b"newer"),)
            assert reader.read() == "older"
            reader.seek(0)
            local.rmtree()


def test_a_builder_writes_to_a_store_what_it_writes_here(tmp_path, store):
    """As `tfds build --data_dir=gs://…` does: each file is written here and copied."""
    for folder in (tmp_path / "here", store):
        megn_dataset_builder.Builder(
            config="rendered_32_n30", data_dir=folder, file_format="array_record"
        ).download_and_prepare()
    place = "megn/rendered_32_n30/1.0.0"
    assert files(epath.Path(store) / place) == files(tmp_path / "here" / place)
