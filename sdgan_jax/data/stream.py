"""Batches of a TFDS data set, read through Grain, with a position that can be saved.

The batch at position k depends on the data set, the random seed and the global batch size only: not on the number of
processes that share it, on the number of threads or workers that decode it, or on interruptions of a run. An image that
cannot be read is replaced by the next one that can.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

import tfds_megn
from sdgan_jax.config import Config
from sdgan_jax.data import broken
from sdgan_jax.data.batch_iterator import Batch, BatchIterator, Skipped
from tfds_megn import data_dir, listing, photos, remote_data

_AS_STORED = {"image": tfds.decode.SkipDecoding()}
_READ_ON = 100  # broken images of a batch, above which reading stops although the training would stop later
_PREFETCH_BYTES = 256 * 2**20  # of decoded images that wait in memory


class _ReadBatch:
    """Decodes the images of one batch; the object is pickled and sent to worker processes."""

    def __init__(self, examples: Examples, share: slice, most: int):
        self._examples = examples
        self._share = share
        self._most = most

    def __call__(self, indices: np.ndarray) -> tuple[Batch, Skipped]:
        return self._examples.read_whole(indices[self._share].tolist(), self._most)


class Examples:
    """Images of one split of a data set, and their multi-hot attributes in the order of the config.

    Attributes:
        source: the split for random access, as TFDS opens it.
    """

    def __init__(self, config: Config, split: str):
        """Opens a split; for arguments and errors see `train_iterator`."""
        self.source = _open(config, split)
        self._name = f"{config.dataset}, split {split}"
        self._resolution = config.resolution
        features = dict(self.source.dataset_info.features or {})
        names = _check_features(config, features)
        self._columns = np.array([config.attributes.index(name) for name in names], np.int32)
        self._num_attributes = config.num_attributes
        multi_hot = features.get("attributes")
        several = isinstance(multi_hot, tfds.features.Tensor) and tuple(multi_hot.shape) == (len(names) - 1,)
        self._several = several and names[:1] == ["none"]

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.source)

    def attributes(self, indices: Sequence[int]) -> np.ndarray:
        """Returns the multi-hot attributes f32[n,A] of the examples at these places; no image is decoded."""
        return np.stack([self._attributes(example) for example in self._examples(indices)])

    def read(self, indices: Sequence[int]) -> Batch:
        """Returns the examples at these places of the split as a batch.

        Raises:
            BrokenImageError: one cannot be read.
        """
        examples = self._examples(indices)
        images = [self._image(example["image"], index) for index, example in zip(indices, examples)]
        return {
            "image": np.stack(images),  # [n,R,R,3]
            "attributes": np.stack([self._attributes(example) for example in examples]),  # [n,A]
        }

    def read_one(self, index: int) -> Batch:
        """Returns one example as a batch; raises as `read`."""
        return self.read([index])

    def read_whole(self, indices: Sequence[int], most: int | None = None) -> tuple[Batch, Skipped]:
        """Returns examples as `read`; the next one that can be read takes the place of one that cannot.

        Args:
            indices: their places in the split.
            most: the number of broken images at which reading goes on; any number by default.

        Returns:
            The batch, and the reasons by the numbers of the broken images. {} as the batch where more are broken.

        Raises:
            BrokenImageError: no `most` is given, and all images of the split are broken.
        """
        try:
            return self.read(indices), {}
        except broken.BrokenImageError:
            bound = len(self) if most is None else most
            batches, skipped = broken.read_or_replace(self.read_one, len(self), indices, bound)
            if len(batches) == len(indices):
                return _stack(batches), skipped
            if most is None:
                raise
            return {}, skipped

    def _examples(self, indices: Sequence[int]) -> Sequence[dict[str, Any]]:
        """Returns the examples at these places as they are stored."""
        with contextlib.suppress(Exception):
            return self.source.__getitems__(list(indices))
        return [self._example(index) for index in indices]  # the error does not say which one is broken

    def _example(self, index: int) -> dict[str, Any]:
        """Returns one example as it is stored."""
        try:
            return self.source[index]
        except Exception as error:  # array_record, protobuf and TFDS have types of their own
            raise broken.make_error(self._name, self.source, index, error) from None

    def _image(self, data: bytes, index: int) -> np.ndarray:
        """Returns a stored image, which may have any number of channels and 16 bits, as u8[R,R,3]."""
        name = f"{self._name}, image {index}"
        try:
            image = photos.to_rgb(PIL.Image.open(io.BytesIO(data)), name)
        except photos.PhotoError as error:
            raise broken.make_error(self._name, self.source, index, error) from None
        except Exception as error:  # Pillow raises nearly anything on bad data.
            reason = f"not an image, or broken ({error})"
            raise broken.make_error(self._name, self.source, index, reason) from None
        if image.shape[:2] != (self._resolution, self._resolution):
            image = photos.crop_resize(image, self._resolution)
        return image

    def _attributes(self, example: Mapping[str, Any]) -> np.ndarray:
        """Returns the multi-hot row f32[A]; column 0, `none`, is 1 where the face has no attribute."""
        row = np.zeros(self._num_attributes, np.float32)
        if self._num_attributes == 1:
            return np.ones_like(row)
        if not self._several:
            row[self._columns[example["label"]]] = 1
            return row
        row[self._columns[1:]] = example["attributes"]
        row[0] = not row.any()
        return row


def train_iterator(config: Config, process_index: int = 0, process_count: int = 1) -> BatchIterator:
    """Opens the training split; the data set is prepared if it is not prepared yet.

    The whole split is shuffled for every epoch by `config.seed`; batches run over the ends of epochs.

    Args:
        config: config whose `dataset`, `data_dir`, `manual_dir`, `resolution`, `attributes`, `batch_size`, `seed` and
            `data_workers` are used.
        process_index: number of this process, from 0.
        process_count: number of processes that share a batch. Process p gets the images p * n to (p + 1) * n of the
            global batch, n = batch_size / process_count.

    Returns:
        An endless iterator of {"image": u8[n,R,R,3], "attributes": f32[n,A] in {0,1}}; attribute column 0 is
        1 where the face has no attribute. Close it at the end.

    Raises:
        ValueError: the data set is unknown, does not fit the config, or has fewer images than a batch.
        FileNotFoundError: photos are missing in `manual_dir`.
        OSError: the prepared data cannot be written to `data_dir`.
    """
    if config.batch_size % process_count:
        raise ValueError(
            f"config.batch_size is {config.batch_size}; it must be a multiple of the {process_count} processes"
        )
    examples = Examples(config, "train")
    if len(examples) < config.batch_size:
        raise ValueError(
            f"the train split of {config.dataset} has {len(examples)} images, fewer than a batch: "
            f"add images, or set --config.batch_size={2 ** (len(examples).bit_length() - 1)} or less"
        )
    if process_index == 0 and config.num_attributes > 1 and config.losses.attribute_kind == "softmax":
        _say_several_attributes(config.dataset, examples.source.dataset_info)
    share = config.batch_size // process_count
    # All processes are to end together where they have left out too many images, which they see at times only.
    most = max(config.max_skipped, _READ_ON)
    batches = (
        grain.MapDataset.range(len(examples))
        .seed(config.seed)
        .shuffle()
        .repeat()
        .batch(config.batch_size, drop_remainder=True)
        .map(_ReadBatch(examples, slice(process_index * share, (process_index + 1) * share), most))
    )
    read_options = _read_options(share * config.resolution**2 * 3, config.data_workers, os.cpu_count() or 1)
    return BatchIterator(batches, read_options, config.data_workers, config.max_skipped, _describe(examples.source))


def _read_options(batch_bytes: int, workers: int, cores: int) -> grain.ReadOptions:
    """Returns threads and buffer of each process that reads: `workers`, or this one where there are none.

    Together they have a thread for each core, at most 16, and up to twice as many batches as cores in
    `_PREFETCH_BYTES` of memory. Each has a thread and a batch, whatever the number of workers.
    """
    readers = max(1, workers)
    waiting = max(2, min(_PREFETCH_BYTES // batch_bytes, 2 * cores))
    threads = max(1, min(16, waiting, cores) // readers)
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(1, waiting // readers))


def _describe(source: Any) -> str:
    """Returns name, version and size of the data set, such as "megn/rendered_64/1.2.0: 8000 images, 70123456 bytes"."""
    split = source.dataset_info.splits[source.split]
    return f"{source.dataset_info.full_name}: {split.num_examples} images, {int(split.num_bytes)} bytes"


def first_images(config: Config, count: int, split: str = "validation") -> Batch:
    """Returns the first images of a split, for sample sheets: the same ones in every call.

    Args:
        config: see `train_iterator`.
        count: number of images.
        split: split of the images; images of the training split follow where it has too few.

    Returns:
        {"image": u8[count,R,R,3], "attributes": f32[count,A]}; fewer where the data set has fewer.

    Raises:
        ValueError, FileNotFoundError: see `train_iterator`.
    """
    return _stack(list(itertools.islice(_in_order(config, split), count)))


def plain_images(config: Config, count: int, split: str = "train") -> np.ndarray:
    """Returns the first images of a split that have no attribute; for arguments and errors see `first_images`.

    Returns:
        u8[count,R,R,3]; fewer where the data set has fewer.

    Raises:
        ValueError: there is none, or as `train_iterator`.
    """
    plain = (batch["image"] for batch in _in_order(config, split) if batch["attributes"][0, 0])
    if not (images := list(itertools.islice(plain, count))):
        raise ValueError(f"{config.dataset} has no image without an attribute, which edits could start from")
    return np.concatenate(images)


def _in_order(config: Config, split: str) -> Iterator[Batch]:
    """Yields batches of one image: those of the split, then those of the training split, without broken ones.

    Raises:
        BrokenImageError: all are broken; the first is named.
    """
    splits, found, failure = split_names(config), False, None
    for name in dict.fromkeys([split, "train"]):
        if name in splits:
            examples = Examples(config, name)
            for i in range(len(examples)):
                try:
                    batch = examples.read_one(i)
                except broken.BrokenImageError as error:  # training counts and names them
                    failure = failure or error
                else:
                    found = True
                    yield batch
    if failure and not found:
        raise failure


def _stack(batches: list[Batch]) -> Batch:
    """Joins batches."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in ("image", "attributes")}


def split_names(config: Config) -> list[str]:
    """Returns the names of the splits that have images; for errors see `train_iterator`."""
    splits = _open(config, "train").dataset_info.splits
    return [name for name, split in splits.items() if split.num_examples]


def _open(config: Config, split: str) -> Any:
    """Opens a split of the data set for random access; the data set is prepared if it is not prepared yet.

    Images are returned as they are stored: TFDS decodes neither 16 bits nor palettes with Pillow alone.
    """
    name, _, variant = config.dataset.partition("/")
    folder = os.path.expanduser(config.data_dir) or None
    manual_dir = config.manual_dir or None
    with broken.naming_damage(config.dataset, str(folder or tfds.core.constants.DATA_DIR)), _explained(config):
        if name == "megn":
            source = tfds_megn.data_source(variant, split=split, data_dir=folder, manual_dir=manual_dir)
            source.decoders = _AS_STORED  # type: ignore[attr-defined]
            return source
        local = remote_data.local_folder(folder)
        builder = tfds.builder(config.dataset, data_dir=local, file_format="array_record")
        if remote_data.fetch(folder, builder.data_path):
            builder = tfds.builder(config.dataset, data_dir=local)
        prepared = builder.is_prepared()
    if builder.info.features:  # Before the preparation, which may take hours.
        _check_features(config, dict(builder.info.features))
    with broken.naming_damage(config.dataset, str(folder or tfds.core.constants.DATA_DIR)), _explained(config):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
        remote_data.publish(folder, builder.data_path, not prepared)
        return builder.as_data_source(split, decoders=_AS_STORED)


@contextlib.contextmanager
def _explained(config: Config) -> Iterator[None]:
    """Turns exceptions of TFDS into one line that names the field of the config."""
    name = config.dataset.partition("/")[0]
    try:
        with data_dir.writing(
            remote_data.local_folder(config.data_dir or None) or tfds.core.constants.DATA_DIR, "--config.data_dir"
        ):
            yield
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(name, ["megn", *known], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "the default is megn/rendered_64"
        raise ValueError(f"config.dataset is {config.dataset!r}, which TFDS does not know; {hint}") from error
    except ValueError as error:
        if name == "megn":
            raise
        reason = listing.one_line(error)[:300]
        raise ValueError(f"config.dataset is {config.dataset!r}, which TFDS refuses: {reason}") from error
    except NotImplementedError as error:
        raise ValueError(
            f"{config.dataset} is prepared in a format that only TensorFlow reads; set --config.data_dir to "
            "another directory to prepare it as array_record there"
        ) from error
    except AssertionError as error:  # raised by TFDS where manual_dir lacks something
        raise FileNotFoundError(f"{config.dataset} cannot be prepared: {' '.join(str(error).split())}") from error
    except ImportError as error:
        raise ValueError(
            f"{config.dataset} needs a package that is not installed ({error}); pip install -e '.[tf]' may bring it"
        ) from error


def _check_features(config: Config, features: Mapping[str, Any]) -> list[str]:
    """Checks the features of the data set against the config, and returns the names of its labels."""
    needed = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    plain = config.num_attributes == 1  # a plain StyleGAN2 uses no labels
    if plain:
        del needed["label"]
    for name, kind in needed.items():
        if not isinstance(features.get(name), kind):
            raise ValueError(
                f"{config.dataset} has no {name!r} of type {kind.__name__}; its features are {', '.join(features)}"
            )
    names = [] if plain else list(features["label"].names)
    if not plain and set(names) | {"none"} != set(config.attributes):
        proper = ("none", *(name for name in names if name != "none"))
        raise ValueError(
            f"the labels of {config.dataset} are {', '.join(names)}, but config.attributes is "
            f'{", ".join(config.attributes)}; set --config.attributes="{proper}"'
        )
    dtype = features["image"].np_dtype
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"the images of {config.dataset} are {np.dtype(dtype).name}, not colours of 8 or 16 bits: "
            "name another --config.dataset, or store its images as uint8"
        )
    height, width = features["image"].shape[-3:-1]  # Of animations the first axis is the frame.
    exact = config.dataset.startswith("megn/")
    smallest = min(height or config.resolution, width or config.resolution)
    if smallest < config.resolution or (exact and smallest != config.resolution):
        raise ValueError(
            f"the images of {config.dataset} are {width} x {height} pixels but config.resolution is "
            f"{config.resolution}; set --config.resolution={2 ** (smallest.bit_length() - 1)}"
        )
    return names


def _say_several_attributes(dataset: str, info: tfds.core.DatasetInfo) -> None:
    """Prints a hint at losses.attribute_kind when photos have several attributes, which `tfds_megn` has counted."""
    several = (info.metadata or {}).get("several_attributes", 0)
    if several:
        total = sum(split.num_examples for split in info.splits.values())
        print(
            f"hint: {several:,} of the {total:,} photos of {dataset} wear several attributes; "
            "--config.losses.attribute_kind=sigmoid learns each of them, softmax assumes one attribute per face",
            file=sys.stderr,
        )
