"""The inversion benchmark: how well G draws faces that it has not seen, by each way to find their latents."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tqdm import auto as tqdm

from sdgan_jax import inversion, losses, outputs, pictures, pretrained
from sdgan_jax.data.batches import map_batches
from sdgan_jax.evaluation import edit_report, image_sources
from sdgan_jax.evaluation.report import BY
from sdgan_jax.metrics import similarity
from sdgan_jax.model import Model
from sdgan_jax.pretrained import PerceptualNetwork
from tfds_megn import listing, photos

NUM_FACES = 32
PIVOTAL_STEPS = 50
FILES = ("inversion.txt", "inversion.json", "inversion.png")
COLUMNS = {  # name -> explanation
    "psnr": "peak signal-to-noise ratio of the reconstruction, dB",
    "perceptual": "distance on features of the position and identity networks, which the searches minimise, too",
    "identity": "cosine of identity embeddings",
    "seconds": "wall clock for a face, without compilation",
}
_PART = 8  # faces that are searched for at once
_BATCH = 16

Images = np.ndarray


def evaluate_inversion(
    model: Model,
    out_dir: str | os.PathLike[str],
    data_dir: str = "",
    num_faces: int = NUM_FACES,
    folder: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Measures the reconstructions of a model, and writes `inversion.txt`, `inversion.json` and `inversion.png`.

    Args:
        model: the model.
        out_dir: folder for the results, local or remote.
        data_dir: folder of prepared data; "" is the model's own `config.data_dir`, else TFDS's default.
        num_faces: number of faces, or all where there are fewer.
        folder: images whose central squares are the faces; None for the test split of the model's data set.

    Returns:
        The results as written to `inversion.json`: `rows`, row -> column -> `mean` and `std` over the faces.

    Raises:
        FileExistsError: a file that was not written by an evaluation is in the way.
        FileNotFoundError, OSError: images are missing, or the disk is full or cannot be written.
        ValueError: there is no image.
    """
    out_dir, config = epath.Path(out_dir), model.config
    outputs.check_own([out_dir / name for name in FILES], BY)
    if folder:
        faces = _read_folder(epath.Path(folder), num_faces, config.resolution)
    else:
        source = image_sources.open_dataset(
            config.dataset, "test", config.resolution, data_dir or config.data_dir, config.manual_dir
        )
        faces = source.read(np.arange(min(num_faces, source.available or num_faces)))["image"]
    out_dir.mkdir(parents=True, exist_ok=True)
    rows, drawn = measure(model, faces, pretrained.perceptual_network())
    results = {
        "dataset": os.fspath(folder) if folder else f"{config.dataset}, test",
        "resolution": config.resolution,
        "faces": len(faces),
        "rows": rows,
    }
    outputs.write_json(out_dir / "inversion.json", results, BY)
    outputs.write_text(out_dir / "inversion.txt", table(results), BY)
    cells = np.stack([images[: edit_report.SHOWN] for images in (faces, *drawn.values())], 1)  # [N,columns,R,R,3]
    sheet = pictures.grid(cells.reshape(-1, *faces.shape[1:]), cells.shape[1], column_labels=["face", *drawn])
    pictures.write_png(out_dir / "inversion.png", sheet, BY)
    return results


def measure(
    model: Model, faces: Images, features: PerceptualNetwork, pivotal_steps: int = PIVOTAL_STEPS
) -> tuple[dict[str, dict[str, Any]], dict[str, Images]]:
    """Reconstructs faces in each way: by the encoder alone where there is one, by a search, and by pivotal tuning.

    Args:
        model: the model.
        faces: u8[N,R,R,3].
        features: network of the perceptual distance and of identity.
        pivotal_steps: steps of the pivotal tuning, which starts at the search's latents.

    Returns:
        For each way the columns, and the reconstructions u8[N,R,R,3].
    """
    images, steps = pictures.to_float(faces), inversion.default_steps(model.params.get("E"))
    search, tuned = f"{steps} steps", f"{steps} steps, {pivotal_steps} of tuning"
    calls = _calls(len(faces), 1) + _calls(len(faces), _PART) * (2 if "E" in model.params else 1)
    with tqdm.tqdm(total=calls, desc="Inversions", unit="part", mininterval=0.5) as bar:
        found: dict[str, tuple[Images, float]] = {}
        if "E" in model.params:
            latent, seconds = _timed(model.encode, images, size=_PART, bar=bar)
            found["encoder"] = _draw(model, latent), seconds
        latent, seconds = _timed(model.invert, images, size=_PART, bar=bar)
        found[search] = _draw(model, latent), seconds

        def tune(image: Images, pivot: jax.Array) -> Images:
            return _draw(model.tune(pivot, image, pivotal_steps), pivot)

        drawn, more = _timed(tune, images, latent, size=1, bar=bar)
        found[tuned] = drawn, seconds + more
    rows = {name: _compare(images, drawn, features) | {"seconds": _cell([s])} for name, (drawn, s) in found.items()}
    return rows, {name: pictures.to_uint8(drawn) for name, (drawn, _) in found.items()}


def table(results: dict[str, Any]) -> str:
    """Formats the results of `evaluate_inversion` as text."""
    return "\n".join([
        f"Reconstructions of {results['faces']} faces ({results['dataset']}), {results['resolution']} pixels: mean "
        "and standard deviation over the faces",
        "",
        *(f"{name:<12}{text}" for name, text in COLUMNS.items()),
        "",
        *edit_report.block("latents by", results["rows"], list(COLUMNS)),
        "",
    ])  # fmt: skip


def _read_folder(folder: epath.Path, count: int, size: int) -> Images:
    """Reads the central squares of the first images of a folder, u8[N,size,size,3]."""
    files = image_sources.list_images(folder, f"--input={listing.printable(folder)}")
    return np.stack([photos.crop_resize(photos.read_photo(path), size) for path in files[:count]])


def _timed(function: Callable[..., Any], *arrays: Any, size: int, bar: tqdm.tqdm) -> tuple[Any, float]:
    """Applies a function to parts of the rows; returns all results, and the median of the seconds for a row.

    The first part, which compiles the function, does not count; where it is the only one, it is computed again.
    """
    times: list[float] = []

    def timed(*part: Any) -> Any:
        began = time.perf_counter()
        result = jax.block_until_ready(function(*part))
        times.append((time.perf_counter() - began) / len(part[0]))
        bar.update()
        return result

    result = map_batches(timed, *arrays, size=size)
    if len(times) == 1:
        map_batches(timed, *arrays, size=size)
    return result, statistics.median(times[1:])


def _calls(count: int, size: int) -> int:
    """Returns the number of calls that `_timed` makes for so many rows."""
    return max(2, -(-count // size))


def _draw(model: Model, latent: jax.Array) -> Images:
    """Draws latents of the model's latent space, f32[N,R,R,3]."""
    return np.asarray(model.synthesize(model.map(latent) if model.config.latent_space == "z" else latent))


def _compare(images: Images, drawn: Images, features: PerceptualNetwork) -> dict[str, Any]:
    """Compares reconstructions with their faces, f32[N,R,R,3] each: all columns but the seconds."""

    @jax.jit
    def compare(a: jax.Array, b: jax.Array) -> dict[str, jax.Array]:
        return {
            "psnr": similarity.psnr(a, b),
            "perceptual": losses.perceptual(features(a), features(b)),
            "identity": (features.identity(a) * features.identity(b)).sum(-1),
        }

    values = map_batches(compare, images, jnp.clip(jnp.asarray(drawn), -1.0, 1.0), size=_BATCH)
    return {name: _cell(np.asarray(numbers).tolist()) for name, numbers in values.items()}


def _cell(values: list[float]) -> dict[str, Any]:
    """Returns mean and sample standard deviation; None for that of one number."""
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}
