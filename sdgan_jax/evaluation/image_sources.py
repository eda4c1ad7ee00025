"""Sets of images that metrics compare: drawn by a model, stored in a data set, or files in a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from concurrent import futures
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import config as config_lib
from sdgan_jax import pictures
from sdgan_jax.config import Config
from sdgan_jax.data import broken
from sdgan_jax.data.stream import Examples
from sdgan_jax.model import Model
from sdgan_jax.pretrained import archive
from sdgan_jax.pretrained.archive import Tree
from tfds_megn import listing, photos

Rows = dict[str, Any]  # arrays of n rows each

_READERS = 4  # threads that decode files


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A set of images.

    Attributes:
        name: name in results.
        key: everything that the images depend on, as JSON.
        available: number of images; None for a model, which draws any number.
        read: function from numbers int64[n] of images to arrays on the host, n rows each.
        draw: function from `params` and these arrays to f32[n,H,W,3], whole numbers from 0 to 255. Pure.
        params: tree of arrays, the same in each call.
    """

    name: str
    key: dict[str, Any]
    available: int | None
    read: Callable[[np.ndarray], Rows]
    draw: Callable[[Tree, Rows], jax.Array]
    params: Tree = dataclasses.field(default_factory=dict)


def _stored_pixels(params: Tree, rows: Rows) -> jax.Array:
    """Returns stored images u8[n,H,W,3] as floats."""
    del params
    return rows["image"].astype(jnp.float32)


def _order(count: int) -> np.ndarray:
    """Returns a fixed order of stored images: the first ones of a set may all be of one class."""
    return np.random.default_rng(0).permutation(count)


def open_dataset(dataset: str, split: str, resolution: int, data_dir: str = "", manual_dir: str = "") -> Source:
    """Opens a TFDS data set; it is prepared if it is not prepared yet.

    Args:
        dataset: name, such as "megn/rendered_64".
        split: split, or a TFDS slice of one.
        resolution: images of another size are cut to their central square and resized.
        data_dir: folder of prepared data; "" for TFDS's default.
        manual_dir: folder of photos, see `config.manual_dir`.

    Raises:
        ValueError, FileNotFoundError, OSError: see `data.stream.train_iterator`.
    """
    config = Config(
        dataset=dataset, resolution=resolution, data_dir=data_dir, manual_dir=manual_dir, attributes=("none",)
    )
    examples = Examples(config, split)
    key = _describe(examples) | {"resolution": resolution}
    order = _order(len(examples))

    def read(numbers: np.ndarray) -> Rows:
        batch, skipped = examples.read_whole(order[numbers].tolist())
        for reason in skipped.values():
            broken.say_replaced(reason)
        return {"image": batch["image"]}

    return Source(f"{dataset}, {split}", key, len(examples), read, _stored_pixels)


def _describe(examples: Examples) -> dict[str, Any]:
    """Returns everything that the examples of a split depend on, as JSON."""
    info = examples.source.dataset_info
    folder = os.fspath(info.data_dir)
    return {
        "dataset": info.full_name,
        # A data set of photos may be prepared again from others, as many under the same name.
        "prepared": (epath.Path(folder) / "dataset_info.json").stat().mtime,
        "folder": folder if listing.is_remote(folder) else os.path.realpath(folder),
        "split": str(examples.source.split),
        "images": len(examples),
    }


def list_images(folder: epath.Path, name: str) -> list[epath.Path]:
    """Lists the images of a folder and its sub-folders, in the order of their names.

    Args:
        folder: local or remote.
        name: what errors call it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no image in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}: there is no such folder")
    files = [path for relative, path in listing.list_files(folder).files.items() if photos.is_image(relative)]
    if not files:
        raise ValueError(f"{name}: there is no image in the folder")
    return files


def open_folder(folder: epath.PathLike) -> Source:
    """Opens a folder of images of one size; sub-folders are searched too.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no image in it. `Source.read` raises it for a file that cannot be read and for images of
            several sizes.
    """
    folder = epath.Path(folder)
    name = listing.printable(folder)
    files = list_images(folder, name)
    height, width = photos.read_photo(files[0]).shape[:2]
    order = _order(len(files))

    def read_one(path: epath.Path) -> np.ndarray:
        image = photos.read_photo(path)
        if image.shape[:2] != (height, width):
            raise ValueError(
                f"{listing.printable(path)} is {image.shape[1]} x {image.shape[0]} pixels, the first image of the "
                f"folder {width} x {height}; metrics need images of one size"
            )
        return image

    def read(numbers: np.ndarray) -> Rows:
        with futures.ThreadPoolExecutor(_READERS) as pool:
            return {"image": np.stack(list(pool.map(read_one, [files[place] for place in order[numbers]])))}

    described = hashlib.blake2b(digest_size=8)
    for path in files:
        status = path.stat()
        described.update(f"{path.relative_to(folder)} {status.length} {status.mtime}\n".encode("utf-8", "replace"))
    key = {
        "folder": name if listing.is_remote(name) else os.path.realpath(folder),
        "files": described.hexdigest(),
        "images": len(files),
        "resolution": [height, width],
    }
    return Source(name, key, len(files), read, _stored_pixels)


def open_model(model: Model, name: str, seed: int = 0, labelled: Examples | None = None) -> Source:
    """Makes the set of images that a model draws: random latents, noise and attributes, without truncation.

    Image i depends on the seed and i only.

    Args:
        model: the model.
        name: name in results.
        seed: random seed.
        labelled: data set with the model's attributes; the images have its attributes, in a random order, again and
            again. None for equally many images of each attribute.
    """
    label_dim = model.config.generator.label_dim
    order = None if labelled is None else np.random.default_rng(seed).permutation(len(labelled))

    def read(numbers: np.ndarray) -> Rows:
        rows: Rows = {"number": numbers.astype(np.int32)}
        if labelled is None or order is None:
            count = model.config.num_attributes
            rows["attributes"] = np.eye(count, dtype=np.float32)[numbers % count]
        else:
            rows["attributes"] = labelled.attributes(order[numbers % len(order)].tolist())
        if label_dim:
            rows["label"] = np.eye(label_dim, dtype=np.float32)[numbers % label_dim]
        return rows

    def draw(params: Tree, rows: Rows) -> jax.Array:
        z, noise = random_inputs(model, seed, rows["number"])
        w_plus = model.nets.to_w_plus(params["G"], z, rows["attributes"], params["basis"], rows.get("label"))
        return pictures.quantise(model.nets.synthesize(params["G"], w_plus, noise))

    params = {"G": model.params["G"], "basis": model.params["basis"]}
    key = {
        "model": archive.fingerprint(params),
        "config": hashlib.sha256(config_lib.to_json(model.config).encode()).hexdigest()[:16],
        "resolution": model.config.resolution,
        "seed": seed,
        "attributes": "even" if labelled is None else _describe(labelled),
    }
    return Source(name, key, None, read, draw, params)


def random_inputs(model: Model, seed: int, numbers: jax.Array, phase: int = 0) -> tuple[jax.Array, jax.Array]:
    """Returns latents z f32[n,D] and PRNG keys [n] of the noise of images int32[n]; each phase has its own."""
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    keys = jax.vmap(jax.random.split)(fold(jax.random.fold_in(jax.random.key(seed), phase), numbers))  # [n,2]
    draw = jax.vmap(lambda key: jax.random.normal(key, (model.config.generator.latent_dim,)))
    return draw(keys[:, 0]), keys[:, 1]
