"""Preparation of rendered faces by Apache Beam: the shards are rendered and written by the workers of any runner."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import example_serializer, splits, writer

from tfds_megn import rendered


class Shard(NamedTuple):
    """One file of the data set, not yet written.

    Attributes:
      path: path of the file.
      faces: its faces, in order.
      size: height and width of the images in pixels.
      source: one of `names.DRAWN`.
    """

    path: str
    faces: tuple[rendered.Face, ...]
    size: int
    source: str


def runner_of(config: tfds.download.DownloadConfig | None) -> Any:
    """Returns the runner that a build asks for by `beam_runner` or `beam_options`; None for a build without Beam."""
    if config is None or not (config.beam_runner or config.beam_options):
        return None
    if config.beam_runner:
        return config.beam_runner
    from apache_beam.options import pipeline_options

    return config.beam_options.view_as(pipeline_options.StandardOptions).runner or "DirectRunner"


def write(
    shards: Mapping[str, Sequence[Shard]],
    features: tfds.features.FeaturesDict,
    example_writer: writer.ExampleWriter,
    runner: Any,
    options: Any = None,
) -> None:
    """Writes all shards of all splits in one pipeline.

    TFDS's own way to write a `ShardBasedBuilder` by Beam renders the first split again with each further one.

    Args:
      shards: the files of each split.
      features: features of the examples.
      example_writer: writes one file of serialised examples.
      runner: name of a runner, or a runner.
      options: Beam's `PipelineOptions`, or None.

    Raises:
      ImportError: Apache Beam is not installed.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError("building by Apache Beam needs apache-beam: pip install -e '.[beam]'") from error
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    shard_writer = writer.ShardWriter(features=features, serializer=serializer, example_writer=example_writer)
    tasks = [shard for members in shards.values() for shard in members]
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = (
            pipeline
            | "Shards" >> beam.Create(tasks)
            | "Spread" >> beam.Reshuffle()
            | "Render and write" >> beam.Map(functools.partial(write_shard, shard_writer))
        )


def write_shard(shard_writer: writer.ShardWriter, shard: Shard) -> None:
    """Renders the faces of a shard, and writes it; runs in a worker.

    The file appears when it is complete: a runner may stop a worker and start the shard again in another.
    """

    def examples() -> Iterator[tuple[str, dict[str, Any]]]:
        for task in rendered.render_tasks(list(shard.faces), shard.size):
            yield from ((example["id"], example) for example in rendered.render_examples(task, shard.source))

    with tfds.core.utils.incomplete_file(epath.Path(shard.path)) as unfinished:
        shard_writer.write(examples=examples(), path=unfinished)


def split_infos(shards: Mapping[str, Sequence[Shard]], templates: Mapping[str, Any]) -> list[splits.SplitInfo]:
    """Returns what TFDS stores about each split, after all shards are written."""
    return [
        splits.SplitInfo(
            name=split,
            shard_lengths=[len(shard.faces) for shard in members],
            num_bytes=sum(epath.Path(shard.path).stat().length for shard in members),
            filename_template=templates[split],
        )
        for split, members in shards.items()
    ]
