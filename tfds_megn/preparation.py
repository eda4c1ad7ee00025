"""Random access to the examples of a config, which is prepared on first use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from tfds_megn import formats, listing, names, photo_folder, photo_record, remote_data, rendered
from tfds_megn.data_dir import writing
from tfds_megn.megn_dataset_builder import Builder


def data_source(
    config: str = "rendered_64",
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    num_images: int | None = None,
) -> Sequence[dict[str, Any]]:
    """Returns the examples of one split as a random-access sequence, after preparing them when they are missing.

    TensorFlow is not needed. Several processes may call this at once: each prepares into its own temporary folder,
    the first to finish moves it into place, and the others read that.

    Args:
      config: 'rendered_32' to 'rendered_256' or 'photos_64' to 'photos_1024'; 'megn/' in front and a version such as
        ':1.0.0' behind are accepted.
      split: 'train', 'validation' or 'test', or a TFDS slice such as 'train[:10%]'.
      data_dir: folder of prepared data; by default TFDS's, `~/tensorflow_datasets`. Of a remote one (gs://…) the data
        set is copied to this machine, see `remote_data`.
      manual_dir: folder of your photos, for the `photos_` configs.
      num_images: number of rendered images in all splits together, 10,000 by default.

    Returns:
      A sequence of dicts: image u8[R,R,3], label int, attributes bool[5], id bytes; for rendered faces also identity
      int and params f32[P].

    Raises:
      ValueError: the config, its version or the split is unknown, or the photos cannot be used.
      FileNotFoundError: there are no photos in `manual_dir`.
      DataDirError: the prepared data cannot be written to `data_dir`; it is an OSError.
    """
    for part in split.split("+"):  # Checked before the preparation.
        if part.partition("[")[0].strip() not in (*rendered.SPLITS, "all"):
            raise ValueError(f"unknown split {split!r}; there are {', '.join(rendered.SPLITS)}")
    name = _find_config(config, num_images)
    folder = remote_data.local_folder(data_dir)
    with _no_warnings(), writing(folder or tfds.core.constants.DATA_DIR):
        builder = Builder(config=name, data_dir=folder, file_format="array_record")
        remote_data.fetch(data_dir, builder.data_path)
        missing = not formats.is_prepared(builder)
        if missing:
            _prepare(builder, manual_dir)
        elif manual_dir is not None:
            _check_same_photos(builder, manual_dir)
        remote_data.publish(data_dir, builder.data_path, missing)
        # This reads what is there now, perhaps copied, or prepared by another process.
        builder = Builder(config=name, data_dir=folder)
        source = builder.as_data_source(split)
        with contextlib.suppress(Exception):  # A broken record is the reader's concern.
            source[0]  # TFDS warns at the first read of a process that it decodes with Pillow; here it is muted.
    return source


def _find_config(config: str, num_images: int | None) -> str:
    """Returns the name of a config, with the number of images and without a version, of which there is one.

    Raises:
      ValueError: the config or its version is unknown, or the number of images does not fit it.
    """
    name, colon, version = config.removeprefix("megn/").partition(":")
    if num_images is not None:
        if not name.startswith(tuple(f"{source}_" for source in names.DRAWN)) or "_n" in name:
            raise ValueError(f"num_images is for the configs of drawn faces without a number of images, not for {name}")
        rendered.check_num_images(num_images)
        if num_images != rendered.NUM_IMAGES:
            name = f"{name}_n{num_images}"
    found = Builder.get_builder_config(name)
    if found is None:
        raise ValueError(f"unknown config {config!r}; there are {', '.join(Builder.builder_configs)}")
    if colon and version != str(found.version or Builder.VERSION):
        raise ValueError(f"unknown version {version!r} of {name}; there is {found.version or Builder.VERSION}")
    return name


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Mutes warnings of TFDS about expected states (no OpenCV, nothing prepared yet)."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _check_same_photos(builder: Builder, manual_dir: str | os.PathLike) -> None:
    """Raises ValueError when `manual_dir` has photos other than those that the data were prepared from."""
    try:
        collection = photo_folder.scan(manual_dir)
    except FileNotFoundError:
        return
    if difference := photo_record.find_difference(builder.data_path, collection):
        raise ValueError(
            f"{builder.data_dir} was prepared from other photos than {listing.printable(manual_dir)} holds now "
            f"({difference}); delete it to prepare again, or give another data_dir"
        )


def _prepare(builder: Builder, manual_dir: str | os.PathLike | None) -> None:
    """Prepares the builder's data, unless another process has done so meanwhile."""
    manual_dir = None if manual_dir is None else os.fspath(manual_dir)
    try:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    except FileNotFoundError:
        raise
    except OSError:
        # Another process may have moved its result into place first.
        if not formats.is_prepared(builder):
            raise
