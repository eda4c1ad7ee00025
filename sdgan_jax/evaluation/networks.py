"""Accuracy of the position, identity and attribute networks on rendered faces of held-out persons, truth known."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import outputs, pictures
from sdgan_jax.config.networks import ClassifierConfig, IdentityConfig, PRNetConfig
from sdgan_jax.data import photo_files, rendered
from sdgan_jax.data.batches import map_batches
from sdgan_jax.evaluation import attributes, report
from sdgan_jax.evaluation.report import Table
from sdgan_jax.face3d import drawing, geometry
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.face3d.attire import wear
from sdgan_jax.metrics import landmarks as landmark_metrics
from sdgan_jax.metrics import verification
from sdgan_jax.nets.classifier import Classifier
from sdgan_jax.nets.prnet import ResFCN
from sdgan_jax.pretrained import AttributeClassifier, IdentityNetwork, PositionNetwork
from sdgan_jax.training.networks import classifier, identity, prnet
from tfds_megn.listing import printable

BY = f"{outputs.MADE_BY} measure"
RESULTS, SHEETS = "measurements.json", ("position_maps.png", "worn.png", "photos.png")
SAME, DIFFERENT = 2000, 20_000  # pairs of one person and of two people to verify
FAR = 1e-3  # false accept rate at which the true accept rate is measured
ATTIRE_PIXELS = 256  # side of the images on which attire is compared
_ATTIRE_SHOWN = 6  # faces on the sheet of attire
_MAPS_SHOWN = 12  # faces on the sheet of position maps
_PHOTOS_SHOWN = 100  # photos on their sheet
_CELL = 128  # side of a face on the sheet of attire
_SCORED_MAPS, _SCORED_FACES = 600, 1200  # validation faces that score a checkpoint: of PRNet; of the others
_BATCH = 64


def measure_networks(
    out: epath.PathLike,
    position: PositionNetwork,
    embedder: IdentityNetwork,
    judge: AttributeClassifier,
    faces: rendered.Faces,
    attire_faces: int,
    photos: Sequence[photo_files.PhotoFile] = (),
) -> dict[str, Any]:
    """Measures position maps, verification, attributes and attire; prints tables, writes them and sheets into a folder.

    Writes `measurements.json`, `position_maps.png`, `worn.png` and, with photos, `photos.png`.

    Args:
        out: folder for the results, local or remote.
        position: position network of MEGN's layout.
        embedder: identity network.
        judge: attribute classifier.
        faces: rendered faces of held-out persons.
        attire_faces: number of these faces to compare attire on.
        photos: photos to draw position maps over.

    Returns:
        The tables by name, as written; without `verification` where there are too few pairs of faces.

    Raises:
        FileExistsError: a file that was not written by this function is in the way.
        ValueError: the position network has another layout, for which there is no ground truth.
    """
    out, results = epath.Path(out), dict[str, Any]()

    def enter(name: str, title: str, table: Table) -> None:
        """Prints a table, and writes all tables so far."""
        results[name] = table
        print(report.text(title, table))
        outputs.write_json(out / RESULTS, results, BY)

    enter("position_maps", "position maps, NME in %", measure_position_maps(position, faces))
    if position.stages:
        enter("uncorrected", "without its stages", measure_position_maps(position.alone, faces))
    pictures.write_png(out / "position_maps.png", map_sheet(position, faces.images[:_MAPS_SHOWN]), BY)
    if verified := measure_verification(embedder, faces):
        enter("verification", "verification", verified)
    enter("attributes", "attributes", measure_attributes(judge, position, faces))
    overlaps, sheet = measure_attire_overlap(position, faces.params[:attire_faces])
    enter("worn", "worn regions", overlaps)
    pictures.write_png(out / "worn.png", sheet, BY)
    if photos:
        drawn, results["photos"], notes = photo_sheet(position, photos)
        for note in notes:
            print(f"skipped {note}", file=sys.stderr)
        if drawn is not None:
            pictures.write_png(out / "photos.png", drawn, BY)
        outputs.write_json(out / RESULTS, results, BY)
    print(f"Tables and pictures: {printable(out)}")
    return results


def make_position_score(config: PRNetConfig) -> Callable[[prnet.State], float]:
    """Makes the score of PRNet's checkpoints: minus the landmark error on validation faces, in per cent."""
    faces = rendered.read(config.dataset, "validation", config.data_dir).first(_SCORED_MAPS)
    truth = rendered.position_maps(faces.params, config.resolution)
    predict_maps = jax.jit(functools.partial(prnet.predict, ResFCN(config.resolution, config.channels)))
    layout = layouts.megn(config.resolution)

    def score(state: prnet.State) -> float:
        found = predict(functools.partial(predict_maps, state.variables), faces.images)
        return -float(landmark_errors(found, truth, layout).mean())

    return score


def make_identity_score(config: IdentityConfig) -> Callable[[identity.State], float]:
    """Makes the score of the identity network's checkpoints: its verification accuracy where one face has attire."""
    faces = rendered.read(config.dataset, "validation", config.data_dir).first(_SCORED_FACES)
    bare, pairs = rendered.bare(faces), rendered.draw_pairs(faces, SAME, DIFFERENT)
    embed = jax.jit(identity.network(config).apply)

    def score(state: identity.State) -> float:
        table = verify_pairs(functools.partial(embed, state.variables), bare, faces.images, pairs)
        return table["one wears something"]["accuracy"]

    return score


def make_classifier_score(config: ClassifierConfig) -> Callable[[classifier.State], float]:
    """Makes the score of the attribute classifier's checkpoints: its accuracy on validation faces."""
    faces = rendered.read(config.dataset, "validation", config.data_dir).first(_SCORED_FACES)
    apply = jax.jit(Classifier().apply)
    return lambda state: classifier.accuracy(functools.partial(apply, state.variables), faces)


def measure_position_maps(network: PositionNetwork, faces: rendered.Faces) -> Table:
    """Measures the distance of predicted position maps to the true ones, in per cent of √(w·h) of the face's box.

    Args:
        network: position network of MEGN's layout.
        faces: rendered faces of any resolution.

    Returns:
        For the faces without an attribute, with each attribute, with any, and for all: the mean error of the 68
        landmarks in the image (x, y), of all texels of the face in the image, of these in space (x, y, z), and the
        number of faces.

    Raises:
        ValueError: the network has another layout, for which there is no ground truth.
    """
    size = network.net.size
    layout = known_layout(network)
    truth = rendered.position_maps(faces.params, size)  # in pixels of an image as large as the map
    truth = pictures.scale_positions(truth, faces.images.shape[1] / size)
    found = predict(jax.jit(network), faces.images)
    landmarks = _landmarks(truth, layout)
    errors = {
        "landmarks": landmark_errors(found, truth, layout),
        "face": landmark_metrics.normalised_mean_error(found[:, layout.face, :2], truth[:, layout.face, :2], landmarks),
        "face_3d": landmark_metrics.normalised_mean_error(found[:, layout.face], truth[:, layout.face], landmarks),
    }
    return _group(errors, faces.labels)


def _group(columns: dict[str, np.ndarray], labels: np.ndarray) -> Table:
    """Averages values of faces over those of each attribute, those with any, and all; adds the number of faces."""
    groups = {name: labels == index for index, name in enumerate(tfds_megn.ATTRIBUTES)}
    groups |= {"any attribute": labels > 0, "all": labels >= 0}
    return {
        name: {column: float(values[rows].mean()) for column, values in columns.items()} | {"faces": int(rows.sum())}
        for name, rows in groups.items()
        if rows.any()
    }


def measure_attributes(judge: AttributeClassifier, position: PositionNetwork, faces: rendered.Faces) -> Table:
    """Measures the two judges of `evaluation.attributes` on real images.

    Args:
        judge: attribute classifier.
        position: position network of MEGN's layout.
        faces: rendered faces of any resolution.

    Returns:
        For the faces with each attribute, with any, and for all: the share whose attribute the classifier recognises,
        the share that the position network takes for a face, and the number of faces.
    """
    logits, _ = classifier.classify(jax.jit(judge), pictures.to_float(faces.images))
    columns = {
        "recognised": logits.argmax(axis=1) == faces.labels,
        "a face": attributes.make_is_face(position)(faces.images),
    }
    return _group(columns, faces.labels)


def landmark_errors(found: np.ndarray, truth: np.ndarray, layout: layouts.Layout) -> np.ndarray:
    """Returns the normalised mean error of the 68 landmarks of each face, f32[N] in per cent; maps f32[N,S,S,3]."""
    ours, theirs = _landmarks(found, layout), _landmarks(truth, layout)
    return landmark_metrics.normalised_mean_error(ours[..., :2], theirs[..., :2], theirs)


def _landmarks(position_maps: np.ndarray, layout: layouts.Layout) -> np.ndarray:
    """Returns the landmarks f32[N,68,3] of position maps f[N,S,S,3]."""
    at = jax.jit(jax.vmap(lambda position_map: geometry.landmarks(position_map, layout)))
    return np.asarray(at(position_maps.astype(np.float32)))


def measure_verification(network: IdentityNetwork, faces: rendered.Faces) -> Table | None:
    """Measures verification (`verify_pairs`) on a fixed draw of pairs of these faces.

    None where there are too few pairs; a note on stderr says so.
    """
    same = different = 0
    if faces.labels.any():  # the second face of a pair has an attribute
        pairs = rendered.draw_pairs(faces, SAME, DIFFERENT)
        same, different = int(pairs.same.sum()), int((~pairs.same).sum())
    least = verification.FOLDS, math.ceil(1 / FAR)
    if same < least[0] or different < least[1]:
        print(
            f"note: verification is not measured: {len(faces.labels)} faces give {same} pairs of one person and "
            f"{different} of two people; {least[0]} and {least[1]} are needed, of more --faces or another --dataset",
            file=sys.stderr,
        )
        return None
    return verify_pairs(jax.jit(network), rendered.bare(faces), faces.images, pairs)


def verify_pairs(
    network: Callable[[jax.Array], jax.Array],
    bare: np.ndarray,
    stored: np.ndarray,
    pairs: rendered.Pairs,
    far: float = FAR,
) -> Table:
    """Measures how well a network separates pairs of one person from pairs of two people, with and without attire.

    Args:
        network: images f32[N,R,R,3] in [-1,1] to unit vectors f32[N,E].
        bare: u8[N,R,R,3], the photographs without an attribute.
        stored: u8[N,R,R,3], the same photographs as stored; the second face of each pair has an attribute.
        pairs: pairs of rows of both.
        far: false accept rate.

    Returns:
        For pairs in which neither face, the second face, and both faces (the first only where it is so stored) have an
        attribute: `accuracy` (`metrics.verification`, on as many pairs of two people as there are of one),
        `tar_at_far`, and the numbers of pairs of one person and of two.
    """
    embeddings = {"bare": identity.embed(network, bare), "stored": identity.embed(network, stored)}
    columns = {
        "neither wears anything": ("bare", "bare"),
        "one wears something": ("bare", "stored"),
        "as stored": ("stored", "stored"),
    }
    count = int(pairs.same.sum())
    even = pairs.same | (np.cumsum(~pairs.same) <= count)
    table: Table = {}
    for name, (first, second) in columns.items():
        cosines = (embeddings[first][pairs.first] * embeddings[second][pairs.second]).sum(1)
        table[name] = {
            "accuracy": verification.verification(cosines[even], pairs.same[even]),
            "tar_at_far": verification.tar_at_far(cosines, pairs.same, far),
            "same": count,
            "different": len(pairs.same) - count,
        }
    return table


def measure_attire_overlap(network: PositionNetwork, params: np.ndarray) -> tuple[Table, np.ndarray]:
    """Compares attire drawn by the position map found in an image with attire drawn by the true map.

    Args:
        network: position network of MEGN's layout.
        params: f32[N,P], faces, rendered without an attribute at 256 pixels and found as in any photo
            (`finding.find_all`).

    Returns:
        For each attribute, and for all, the mean over the faces of the intersection over union of the covered regions
        (0 where no face is found), the number of faces, and the number of those not found; and a sheet u8[H,W,3]: the
        first faces, each attribute by the true and by the found map.

    Raises:
        ValueError: the network has another layout, for which there is no ground truth.
    """
    known_layout(network)
    find = network.make_find()
    cells: list[np.ndarray] = []
    overlaps: dict[str, list[float]] = {name: [] for name in tfds_megn.ATTRIBUTES[1:]}
    missed = 0
    for i in tqdm.trange(len(params), desc="Wearing", unit="face", mininterval=0.5):
        photo = tfds_megn.render(params[i], "none", ATTIRE_PIXELS)
        truth = tfds_megn.position_map(params[i], ATTIRE_PIXELS)
        found = next(iter(find(photo, most=1)), None)
        missed += found is None
        for name, values in overlaps.items():
            drawn = [_attire(photo, each, name) for each in (truth, None if found is None else found.position_map)]
            values.append(overlap(*(coverage for _, coverage in drawn)))
            if i < _ATTIRE_SHOWN:
                cells += [pictures.square(image, _CELL) for image, _ in drawn]
    columns = [f"{name}, {whose}" for name in overlaps for whose in ("true", "found")]
    sheet = pictures.grid(np.stack(cells), len(columns), column_labels=columns)
    overlaps["all"] = [value for values in overlaps.values() for value in values]
    table: Table = {
        name: {"overlap": float(np.mean(values)), "faces": len(params), "not found": missed}
        for name, values in overlaps.items()
    }
    return table, sheet


def _attire(photo: np.ndarray, position_map: np.ndarray | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Draws an attribute on a photo u8[H,W,3]; returns it and the coverage f32[H,W], 0 without a position map."""
    if position_map is None:
        return photo, np.zeros(photo.shape[:2], np.float32)
    image, coverage = wear.wear(jnp.asarray(pictures.to_float(photo)), jnp.asarray(position_map), name)
    return pictures.to_uint8(np.asarray(image)), np.asarray(coverage)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the intersection over union of two coverages f32[H,W] in [0,1]."""
    return float(np.minimum(first, second).sum() / np.maximum(np.maximum(first, second).sum(), 1e-9))


def map_sheet(network: PositionNetwork, images: np.ndarray) -> np.ndarray:
    """Draws predicted position maps over the images u8[N,R,R,3] that they belong to."""
    return drawing.sheet(images, predict(jax.jit(network), images), network.uv_layout)


def photo_sheet(
    network: PositionNetwork, photos: Sequence[photo_files.PhotoFile]
) -> tuple[np.ndarray | None, dict[str, float | None], list[str]]:
    """Draws position maps over photos in which a face is found.

    Args:
        network: position network of any layout.
        photos: see `photo_files.find`; one is in memory at a time.

    Returns:
        A sheet of squares of 256 pixels, of the first photos (None without any); the score of the face in each photo by
        its path, None where none is found; and a line for each photo that cannot be read.
    """
    find = network.make_find()
    cells: list[np.ndarray] = []
    scores: dict[str, float | None] = {}
    notes: list[str] = []
    files = tqdm.tqdm(photos, desc="Photos", unit="photo")
    for file, picture in photo_files.read(files, lambda _, line: notes.append(line)):
        found = next(iter(find(picture.pixels, most=1)), None)
        scores[file.label] = None if found is None else found.score
        if len(cells) < _PHOTOS_SHOWN:
            sketched = picture.pixels
            if found is not None:
                sketched = drawing.sketch(sketched, found.position_map, network.uv_layout)
            cells.append(pictures.square(sketched, ATTIRE_PIXELS))
    return pictures.grid(np.stack(cells), 5) if cells else None, scores, notes


def predict(network: Callable[[jax.Array], jax.Array], images: np.ndarray) -> np.ndarray:
    """Predicts position maps f32[N,S,S,3], in pixels of the images u8[N,R,R,3], in batches."""
    return map_batches(lambda some: np.asarray(network(pictures.to_float(some))), images, size=_BATCH)


def known_layout(network: PositionNetwork) -> layouts.Layout:
    """Returns the layout of a network of MEGN's layout.

    Raises:
        ValueError: the network has another layout, for which there is no ground truth.
    """
    if network.layout != "megn":
        raise ValueError(
            f"the position maps of this network lie in UV space as {network.layout} has it; rendered faces are known "
            "as megn has it only"
        )
    return network.uv_layout
