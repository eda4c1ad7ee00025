"""Two record formats of one prepared data set: array_record for random access, tfrecord for tf.data."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from etils import epath
from tensorflow_datasets.core import dataset_info, file_adapters

ARRAY_RECORD = file_adapters.FileFormat.ARRAY_RECORD
TFRECORD = file_adapters.FileFormat.TFRECORD


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Returns whether the data are prepared; unlike the builder's own method, it does not warn when they are not."""
    return dataset_info.dataset_info_path(builder.data_path).exists()


def offer_format(builder: tfds.core.DatasetBuilder, wanted: file_adapters.FileFormat) -> None:
    """Makes a builder read its prepared data in another format; missing files of that format are written.

    The records are copied byte for byte, into files beside those of the first format.

    Args:
      builder: a builder whose data are prepared as array_record or tfrecord.
      wanted: ARRAY_RECORD or TFRECORD.

    Raises:
      ValueError: tfrecord files must be read, and TensorFlow is not installed.
    """
    info = builder.info
    if info.file_format == wanted or not is_prepared(builder):
        return
    # The list of other formats is read here, because a builder does not load it.
    stored = dataset_info.read_proto_from_builder_dir(builder.data_path)
    if wanted.value not in dataset_info.available_file_formats(stored):
        _add_format(builder, wanted)
    # TFDS forgets the format that it switches away from, unless it is listed.
    if info.file_format not in info.alternative_file_formats:
        info.add_alternative_file_format(info.file_format)
    info.set_file_format(wanted, override=True, override_if_initialized=True)


def _add_format(builder: tfds.core.DatasetBuilder, wanted: file_adapters.FileFormat) -> None:
    """Copies every shard into the wanted format, then lists the format in dataset_info.json."""
    read = {ARRAY_RECORD: _read_array_record, TFRECORD: _read_tfrecord}[builder.info.file_format]
    if read is _read_tfrecord:
        _check_tensorflow(builder)
    print(f"Adding {wanted.value} files to {builder.data_dir}", file=sys.stderr)
    write = file_adapters.ADAPTER_FOR_FORMAT[wanted].write_examples
    for split in builder.info.splits.values():
        for path in split.filepaths:
            # Renamed when complete, so that several processes may do this at once.
            target = file_adapters.convert_path_to_file_format(path, wanted)
            with tfds.core.utils.incomplete_file(target) as unfinished:
                write(unfinished, enumerate(read(path)))
    proto = dataset_info.read_proto_from_builder_dir(builder.data_path)
    if wanted.value not in proto.alternative_file_formats:
        proto.alternative_file_formats.append(wanted.value)
        dataset_info.write_dataset_info_proto(proto, builder.data_path)


def _check_tensorflow(builder: tfds.core.DatasetBuilder) -> None:
    """Raises ValueError when TensorFlow cannot be imported."""
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        raise ValueError(
            f"{builder.data_dir} holds tfrecord files, which only TensorFlow reads: install tensorflow, "
            "or give another data_dir to prepare again"
        ) from None


def _read_tfrecord(path: epath.Path) -> Iterator[bytes]:
    """Returns an iterator over the records of a tfrecord file."""
    import tensorflow as tf

    return tf.data.TFRecordDataset(str(path)).as_numpy_iterator()


def _read_array_record(path: epath.Path) -> Iterator[bytes]:
    """Yields the records of an array_record file."""
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        for _ in range(reader.num_records()):
            yield reader.read()
    finally:
        reader.close()
