"""MEGN: faces with discrete attributes, rendered or from photos, as a TFDS data set."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import file_adapters, writer
from tensorflow_datasets.proto import tf_example_pb2
from tqdm import auto as tqdm

from tfds_megn import (
    beam_build,
    data_dir,
    formats,
    listing,
    names,
    photo_files,
    photo_folder,
    photo_record,
    photo_splits,
    rendered,
    workers,
)
from tfds_megn.params import ATTRIBUTES, PARAM_NAMES, VARIED_NAMES

Item = TypeVar("Item")

# A common size of shards, for parallel reads and simple copies; a PNG takes about 1.5 bytes per pixel.
_SHARD_BYTES = 128 * 2**20
_PNG_BYTES_PER_PIXEL = 1.5
_NATURAL_NOTES = {
    "1.1.0": "The jaw has the depth of real faces; varied ones turn to 90°.",
    "1.0.0": "First version.",
}
_VERSIONS: dict[str, dict[str, Any]] = {
    names.RENDERED: {},
    names.NATURAL: {"version": "1.1.0", "release_notes": _NATURAL_NOTES},
    names.VARIED: {
        "version": "1.2.0",
        "release_notes": {
            "1.2.0": "Masks, beards and mustaches of faces that look up are complete.",
            **_NATURAL_NOTES,
        },
    },
}


@dataclasses.dataclass(eq=False)
class MegnConfig(tfds.core.BuilderConfig):
    """Source, size and number of the images.

    Attributes:
      source: one of `names.DRAWN`, or `names.PHOTOS`.
      resolution: width and height of the images in pixels.
      num_images: number of rendered images in all splits together; unused for photos.
    """

    source: str = names.RENDERED
    resolution: int = 64
    num_images: int = rendered.NUM_IMAGES


def _drawn_config(source: str, size: int, num_images: int = rendered.NUM_IMAGES) -> MegnConfig:
    name = f"{source}_{size}"
    return MegnConfig(
        **_VERSIONS[source],
        name=name if num_images == rendered.NUM_IMAGES else f"{name}_n{num_images}",
        description=f"{num_images:,} {source} faces of {size} x {size} pixels.",
        source=source,
        resolution=size,
        num_images=num_images,
    )


def _photo_config(size: int) -> MegnConfig:
    return MegnConfig(
        name=f"{names.PHOTOS}_{size}",
        version="1.3.0",
        release_notes={
            "1.3.0": "Crops of up to 5 % count as near-duplicates; TIFFs whose white is zero are no negatives.",
            "1.2.0": "Near-duplicates, files that show nearly the same image, are in one split.",
            "1.1.0": "Files that show the same image are in one split; contents tell whether photos changed.",
            "1.0.0": "First version.",
        },
        description=f"Your photos, cropped to {size} x {size} pixels.",
        source=names.PHOTOS,
        resolution=size,
    )


@functools.cache  # TFDS compares configs by identity.
def _counted_config(name: str) -> MegnConfig | None:
    """Returns the config of a name such as 'rendered_64_n2000', None for other names."""
    found = names.parse(name)
    if found is None or found.config != name or found.num_images is None:
        return None
    if found.resolution not in names.SIZES[found.source] or found.num_images == rendered.NUM_IMAGES:
        return None
    rendered.check_num_images(found.num_images)
    return _drawn_config(found.source, found.resolution, found.num_images)


class _Configs(dict[str, MegnConfig]):
    """Configs by name: iteration gives the fixed ones, look-up also those with any number of images."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name) or _counted_config(name) or default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None


class _SameBytesWriter(writer.ExampleWriter):
    """Writer of examples that makes equal files of equal data.

    The features of an example are a protobuf map, which is serialised in an order that differs between runs.
    """

    def write(
        self, path: epath.PathLike, examples: Iterator[tuple[Any, bytes]]
    ) -> file_adapters.ExamplePositions | None:
        """Writes (key, serialised tf.train.Example) pairs to one file."""

        def ordered() -> Iterator[tuple[Any, bytes]]:
            for key, data in examples:
                example = tf_example_pb2.Example.FromString(data)
                yield key, example.SerializeToString(deterministic=True)

        if not listing.is_remote(path):
            return super().write(path, ordered())
        with tempfile.TemporaryDirectory() as folder:  # array_record writes local files only
            local = epath.Path(folder) / epath.Path(path).name
            positions = super().write(local, ordered())
            local.copy(path, overwrite=True)
        return positions


class Builder(tfds.core.ShardBasedBuilder):
    """Builds `megn/<rendered|natural|varied>_<R>`, each also with `_n<images>`, and `megn/photos_<R>`.

    Shards are streamed to disk one after the other, because the shuffle of TFDS's general builder needs TensorFlow
    above 1 GB.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    BUILDER_CONFIGS = [_drawn_config(source, size) for source in names.DRAWN for size in names.SIZES[source]] + [
        _photo_config(size) for size in names.SIZES[names.PHOTOS]
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "rendered_64"
    builder_configs = _Configs({config.name: config for config in BUILDER_CONFIGS})
    MANUAL_DOWNLOAD_INSTRUCTIONS = photo_folder.INSTRUCTIONS

    def __init__(self, *, file_format: str | file_adapters.FileFormat | None = None, **kwargs: Any) -> None:
        """Constructs the builder; data prepared in one format are copied when the other is needed.

        Args:
          file_format: 'array_record' for random access, or 'tfrecord' (the default) for tf.data.
          **kwargs: `config`, `data_dir` and `version`, as for every TFDS builder.
        """
        if kwargs.get("data_dir"):
            kwargs["data_dir"] = os.path.expanduser(os.fspath(kwargs["data_dir"]))
        super().__init__(**kwargs)
        if not formats.is_prepared(self):
            self.info.set_file_format(file_format, override=True)

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Prepares the data; see `tfds.core.DatasetBuilder.download_and_prepare`."""
        with data_dir.writing(self.data_dir_root):
            super().download_and_prepare(**kwargs)

    def as_data_source(self, *args: Any, **kwargs: Any) -> Any:
        """Returns random access to the examples; see `tfds.core.DatasetBuilder.as_data_source`."""
        formats.offer_format(self, formats.ARRAY_RECORD)
        return super().as_data_source(*args, **kwargs)

    def as_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a `tf.data.Dataset` (needs TensorFlow); see `tfds.core.DatasetBuilder.as_dataset`."""
        formats.offer_format(self, formats.TFRECORD)
        return super().as_dataset(*args, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.resolution
        features = {
            "image": tfds.features.Image(shape=(size, size, 3), dtype=np.uint8, encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(ATTRIBUTES)),
            "attributes": tfds.features.Tensor(shape=(len(ATTRIBUTES) - 1,), dtype=np.bool_),
            "id": tfds.features.Text(),
        }
        if self.builder_config.source in names.DRAWN:
            count = len(PARAM_NAMES if self.builder_config.source == names.RENDERED else VARIED_NAMES)
            features["identity"] = tfds.features.Scalar(dtype=np.int64)
            features["params"] = tfds.features.Tensor(shape=(count,), dtype=np.float32)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://arxiv.org/abs/2207.05300",
            metadata=tfds.core.MetadataDict(),
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig | None = None
    ) -> None:
        if download_config is not None and (runner := beam_build.runner_of(download_config)):
            self._prepare_by_beam(runner, download_config.beam_options)
            return
        with contextlib.ExitStack() as self._cleanup:
            super()._download_and_prepare(dl_manager, download_config)

    def _prepare_by_beam(self, runner: Any, options: Any) -> None:
        """Renders and writes the shards by a runner of Apache Beam; they are byte for byte those of a plain build."""
        config = self.builder_config
        if config.source not in names.DRAWN:
            raise ValueError(f"{self.info.full_name}: only drawn faces are built by Beam; leave its options out")
        shards, templates = {}, {}
        for split in rendered.SPLITS:
            faces = rendered.split_faces(split, config.num_images)
            templates[split] = self._get_filename_template(split_name=split)
            bounds = self._bounds(len(faces))
            paths = [
                os.fspath(templates[split].sharded_filepath(shard_index=index, num_shards=len(bounds) - 1))
                for index in range(len(bounds) - 1)
            ]
            shards[split] = [
                beam_build.Shard(path, tuple(faces[first:last]), config.resolution, config.source)
                for path, first, last in zip(paths, bounds, bounds[1:])
            ]
        beam_build.write(shards, self.info.features, self._example_writer(), runner, options)
        self.info.set_splits(tfds.core.SplitDict(beam_build.split_infos(shards, templates)))

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], Iterator[tuple[str, dict[str, Any]]]]]]:
        if self.builder_config.source in names.DRAWN:
            return self._rendered_shards()
        return self._photo_shards(dl_manager)

    def _rendered_shards(self) -> Mapping[str, Sequence[Callable[[], Iterator]]]:
        config = self.builder_config
        faces = {split: rendered.split_faces(split, config.num_images) for split in rendered.SPLITS}
        draw = functools.partial(rendered.render_examples, source=config.source)
        tasks = rendered.render_tasks(list(itertools.chain(*faces.values())), config.resolution)
        examples = itertools.chain.from_iterable(workers.map_ordered(draw, tasks))
        stream = _with_progress(examples, config.num_images, f"Rendering {self.info.full_name}")
        return {split: self._cut(stream, len(members)) for split, members in faces.items()}

    def _photo_shards(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], Iterator]]]:
        found = photo_folder.scan(_manual_dir(dl_manager))
        size = self.builder_config.resolution
        converted = workers.map_ordered(photo_folder.convert_photo, [(photo, size) for photo in found.photos])
        converted = _with_progress(converted, len(found.photos), f"Reading photos for {self.info.full_name}")
        # All photos are decoded before a split is written, because the splits depend on which are usable. The
        # converted images are kept on the disk of the prepared data.
        place = None if listing.is_remote(self.data_dir) else self.data_dir
        spool = self._cleanup.enter_context(tempfile.TemporaryFile(dir=place))
        self._cleanup.callback(photo_files.close_zips)
        skipped, crcs, bounds, usable = list(found.skipped), {}, {}, {}
        for photo, result in zip(found.photos, converted, strict=True):
            crcs[photo] = result.crc
            if isinstance(result.image, str):
                skipped.append(result.image)
                continue
            bounds[photo] = (spool.tell(), len(result.image))
            spool.write(result.image)
            usable[photo] = dataclasses.replace(result, image=b"")
        found = dataclasses.replace(found, skipped=tuple(skipped))
        photo_folder.report(found, usable)
        splits = photo_splits.split_photos(usable)
        photo_record.write(self.data_path, crcs)
        photo_splits.write_table(self.data_path, splits)
        several = sum(sum(photo.attributes) > 1 for photo in usable)
        self.info.metadata.update(skipped=skipped, notes=list(found.notes), several_attributes=several)

        def examples() -> Iterator[dict[str, Any]]:
            for photo in itertools.chain(*itertools.chain(*splits.values())):
                start, length = bounds[photo]
                spool.seek(start)
                yield {
                    "image": spool.read(length),
                    "label": photo.label,
                    "attributes": np.array(photo.attributes),
                    "id": photo.name,
                }

        stream = examples()
        return {split: self._cut(stream, sum(map(len, groups))) for split, groups in splits.items()}

    def _cut(self, stream: Iterator[dict[str, Any]], count: int) -> list[Callable[[], Iterator]]:
        """Returns one generator function per shard; called in turn, they take `count` examples in all."""

        def shard(length: int) -> Iterator[tuple[str, dict[str, Any]]]:
            for example in itertools.islice(stream, length):
                yield example["id"], example

        return [functools.partial(shard, int(length)) for length in np.diff(self._bounds(count))]

    def _bounds(self, count: int) -> np.ndarray:
        """Returns the first example of each shard of a split of `count` examples, and the end."""
        total_bytes = count * self.builder_config.resolution**2 * _PNG_BYTES_PER_PIXEL
        num_shards = min(count, max(1, round(total_bytes / _SHARD_BYTES)))
        return np.linspace(0, count, num_shards + 1).round().astype(int)

    def _example_writer(self) -> writer.ExampleWriter:
        return _SameBytesWriter(file_format=self.info.file_format)

    def _log_download_bytes(self) -> None:
        # This replaces TFDS's line about downloads: nothing is downloaded.
        print(f"Preparing {self.info.full_name} in {self.data_dir}", file=sys.stderr)

    def _log_download_done(self) -> None:
        pass


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> epath.Path:
    """Returns the folder of photos; raises an error of one line when it is missing, empty or a file."""
    try:
        return dl_manager.manual_dir
    except AssertionError as error:  # "Manual directory <path> does not exist or is empty. Create it ..."
        reason = str(error).partition(". Create it")[0].replace("Manual directory", "manual_dir")
        raise FileNotFoundError(f"no photos: {reason}; {photo_folder.INSTRUCTIONS}") from None
    except NotADirectoryError as error:
        place = listing.printable(error.filename)
        raise ValueError(f"manual_dir {place} is a file; give the folder that holds it") from None


def _with_progress(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yields the items under a progress bar that opens at the first item."""
    held: list[Item] = []
    with tqdm.tqdm(total=total, desc=description, unit="img", mininterval=0.5) as bar:
        # One item is held back, so that bar and workers have ended when the last item is yielded.
        for item in items:
            bar.update()
            yield from held
            held = [item]
    yield from held
