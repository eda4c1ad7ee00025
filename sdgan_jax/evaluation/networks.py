"""What the networks beside the GAN are worth, on rendered faces of people they never saw, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.data import rendered
from sdgan_jax.data.batches import map_batches
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.evaluation.report import Table
from sdgan_jax.face3d import drawing, finding, geometry
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.face3d.attire import wear
from sdgan_jax.metrics import landmarks as landmark_metrics
from sdgan_jax.pretrained import IdentityNetwork, PositionNetwork
from sdgan_jax.training.networks import identity
from tfds_megn import photos as photo_reader

WORN_PIXELS = 256  # of the pictures on which wearing is compared
SHOWN = 6  # faces on the sheet of what is worn
_PHOTOS_SHOWN = 100  # on the sheet of photos
_CELL = 128  # pixels of a face there
_BATCH = 64


def position_errors(network: PositionNetwork, faces: rendered.Faces) -> Table:
    """How far predicted position maps lie from the true ones, in per cent of √(w·h) of the face's box.

    Args:
        network: of MEGN's layout.
        faces: of any resolution.

    Returns:
        For the faces that wear nothing, each attribute, any, and all: the mean error of the 68 landmarks in the
        picture (x, y), of all texels of the face in the picture, of these in space (x, y, z), and the number of faces.

    Raises:
        ValueError: the network has another layout, whose truth is not known.
    """
    size = network.net.size
    layout = known_layout(network)
    scale = faces.images.shape[1] / size
    truth = rendered.position_maps(faces.params, size)  # of a picture as large as the map
    truth = (truth + [0.5, 0.5, 0.0]) * scale - [0.5, 0.5, 0.0]
    found = predict(network, faces.images)
    at = jax.jit(jax.vmap(lambda position_map: geometry.landmarks(position_map, layout)))
    ours, theirs = (np.asarray(at(maps.astype(np.float32))) for maps in (found, truth))
    errors = {
        "landmarks": landmark_metrics.normalised_mean_error(ours[..., :2], theirs[..., :2], theirs),
        "face": landmark_metrics.normalised_mean_error(found[:, layout.face, :2], truth[:, layout.face, :2], theirs),
        "face_3d": landmark_metrics.normalised_mean_error(found[:, layout.face], truth[:, layout.face], theirs),
    }
    groups = {name: faces.labels == index for index, name in enumerate(tfds_megn.ATTRIBUTES)}
    groups |= {"any attribute": faces.labels > 0, "all": faces.labels >= 0}
    return {
        name: {column: float(values[rows].mean()) for column, values in errors.items()} | {"faces": int(rows.sum())}
        for name, rows in groups.items()
        if rows.any()
    }


def verification(network: IdentityNetwork, faces: rendered.Faces) -> Table:
    """Verification metrics (`training.networks.identity.verify`) of a fixed draw of pairs of these faces."""
    pairs = rendered.draw_pairs(faces, identity.SAME, identity.DIFFERENT)
    return identity.verify(jax.jit(network), rendered.bare(faces), faces.images, pairs)


def wear_overlap(network: PositionNetwork, params: np.ndarray) -> tuple[Table, np.ndarray]:
    """What is worn by the position map that is found in a picture against what is worn by the true one.

    Args:
        network: of MEGN's layout.
        params: f32[N,P] of faces, drawn bare at 256 pixels and looked for as in any photo (`finding.find`).

    Returns:
        For each attribute, and all, the mean over the faces of the intersection over the union of the worn regions, 0
        where no face is found, the numbers of faces and of these; and a sheet u8[H,W,3]: the first faces, each
        attribute by the true and by the found map.

    Raises:
        ValueError: the network has another layout.
    """
    layout = known_layout(network)
    run = jax.jit(network)
    cells, overlaps = [], {name: [] for name in tfds_megn.ATTRIBUTES[1:]}  # type: ignore[var-annotated]
    missed = 0
    for i in tqdm.trange(len(params), desc="Wearing", unit="face", mininterval=0.5):
        photo = tfds_megn.render(params[i], "none", WORN_PIXELS)
        image, found = jnp.asarray(pictures.to_float(photo)), finding.find(photo, run, layout, network.framing)
        missed += found is None
        for name, values in overlaps.items():
            truth = tfds_megn.position_map(params[i], WORN_PIXELS)
            drawn = [wear.wear(image, jnp.asarray(truth), name), (image, np.zeros(image.shape[:2]))]
            if found is not None:
                drawn[1] = wear.wear(image, jnp.asarray(found.position_map), name)
            values.append(overlap(*(np.asarray(region) for _, region in drawn)))
            if i < SHOWN:
                cells += [pictures.square(pictures.to_uint8(np.asarray(picture)), _CELL) for picture, _ in drawn]
    columns = [f"{name}, {whose}" for name in overlaps for whose in ("true", "found")]
    sheet = pictures.grid(np.stack(cells), len(columns), column_labels=columns)
    overlaps["all"] = [value for values in overlaps.values() for value in values]
    table = {
        name: {"overlap": float(np.mean(values)), "faces": len(params), "not found": missed}
        for name, values in overlaps.items()
    }
    return table, sheet


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two regions f32[H,W] of shares in [0,1]."""
    return float(np.minimum(first, second).sum() / np.maximum(np.maximum(first, second).sum(), 1e-9))


def map_sheet(network: PositionNetwork, images: np.ndarray) -> np.ndarray:
    """Predicted position maps drawn over the pictures u8[N,R,R,3] that they belong to."""
    return drawing.sheet(images, predict(network, images), network.uv_layout)


def photo_sheet(
    network: PositionNetwork, photos: Sequence[PhotoFile]
) -> tuple[np.ndarray | None, dict[str, float | None], list[str]]:
    """Position maps drawn over photos, where a face is found.

    Args:
        network: of any layout.
        photos: see `photo_files.find`; one is in memory at a time.

    Returns:
        A sheet of squares of 256 pixels, of the first photos (None without any); the score of the face of each photo by
        its path, None where none is found; and a line for each photo that cannot be read.
    """
    run, cells, scores, notes = jax.jit(network), [], {}, []
    for file in tqdm.tqdm(photos, desc="Photos", unit="photo"):
        try:
            photo = photo_reader.read_photo(file.path)
        except ValueError as error:
            notes.append(str(error))
            continue
        found = finding.find(photo, run, network.uv_layout, network.framing)
        scores[file.label] = None if found is None else found.score
        if len(cells) < _PHOTOS_SHOWN:
            sketched = photo if found is None else drawing.sketch(photo, found.position_map, network.uv_layout)
            cells.append(pictures.square(sketched, WORN_PIXELS))
    return pictures.grid(np.stack(cells), 5) if cells else None, scores, notes


def predict(network: PositionNetwork, images: np.ndarray) -> np.ndarray:
    """Position maps f32[N,S,S,3] of pictures u8[N,R,R,3], in their pixels, computed in batches of one size."""
    run = jax.jit(network)
    return map_batches(lambda some: np.asarray(run(pictures.to_float(some))), images, size=_BATCH)


def known_layout(network: PositionNetwork) -> layouts.Layout:
    """The layout of a network whose truth is known."""
    if network.layout != "megn":
        raise ValueError(
            f"the position maps of this network lie in UV space as {network.layout} has it; rendered faces are known "
            "as megn has it only"
        )
    return network.uv_layout
