"""Rendered faces built by Apache Beam are byte for byte those of a plain build."""

import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from tests.tfds_megn.test_megn_dataset_builder import file_hashes
from tfds_megn import beam_build, megn_dataset_builder, rendered
from tfds_megn.megn_dataset_builder import Builder

NAME = "rendered_32_n30"


def build(folder, **options):
    builder = Builder(config=NAME, data_dir=folder, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**options))
    return builder


def test_a_build_without_beam_has_no_runner():
    assert beam_build.runner_of(None) is None
    assert beam_build.runner_of(tfds.download.DownloadConfig()) is None
    assert beam_build.runner_of(tfds.download.DownloadConfig(beam_runner="DirectRunner")) == "DirectRunner"


def test_photos_are_not_built_by_beam(tmp_path):
    builder = Builder(config="photos_64", data_dir=tmp_path)
    with pytest.raises(ValueError, match="only drawn faces are built by Beam; leave its options out"):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_runner="DirectRunner"))


def test_a_missing_beam_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"needs apache-beam: pip install -e '\.\[beam\]'"):
        build(tmp_path, beam_runner="DirectRunner")


@pytest.mark.parametrize("by_options", [True, False])
def test_the_shards_are_those_of_a_plain_build(tmp_path, monkeypatch, by_options):
    """With several shards; the runner is given, or named in the options of `tfds build --beam_pipeline_options`."""
    pytest.importorskip("apache_beam")
    from apache_beam.options.pipeline_options import PipelineOptions

    monkeypatch.setattr(megn_dataset_builder, "_SHARD_BYTES", 8 * 32 * 32 * 1.5)
    plain = build(tmp_path / "plain")
    options = {"beam_options": PipelineOptions(["--runner=DirectRunner"])} if by_options else {}
    beam = build(tmp_path / "beam", **(options or {"beam_runner": "DirectRunner"}))
    assert file_hashes(tmp_path / "beam") == file_hashes(tmp_path / "plain")
    for split in rendered.SPLITS:
        assert beam.info.splits[split].shard_lengths == plain.info.splits[split].shard_lengths
        keys = [{example["id"] for example in builder.as_data_source(split)} for builder in (plain, beam)]
        assert keys[0] == keys[1] and len(keys[0]) == rendered.split_sizes(30)[split]
    assert len(plain.info.splits["train"].shard_lengths) == 3


@pytest.mark.slow
def test_the_tfds_command_builds_by_beam(tmp_path):
    """`tfds build` needs TensorFlow; its records, as tfrecord here, are those of a plain build."""
    pytest.importorskip("apache_beam")
    pytest.importorskip("tensorflow")
    for name, options in (("plain", []), ("beam", ["--beam_pipeline_options=runner=DirectRunner"])):
        command = ["build", f"megn/{NAME}", "--imports=tfds_megn", f"--data_dir={tmp_path / name}", *options]
        program = "from tensorflow_datasets.scripts.cli.main import launch_cli; launch_cli()"
        result = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert file_hashes(tmp_path / "beam") == file_hashes(tmp_path / "plain")
