"""Draws attributes on the faces of millions of photos by Apache Beam, on any runner."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from etils import epath

from sdgan_jax import outputs
from sdgan_jax.data import photo_files
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.face3d.attire import wear
from sdgan_jax.photos import finders, manifest, output_names, photo_results, picture_files, wearing
from sdgan_jax.photos.dressing import Draw
from sdgan_jax.photos.finders import Finder
from sdgan_jax.photos.looks import Looks
from tfds_megn.listing import printable

SHARDS = "manifest"  # the start of the names of the manifest's files
_FAILURES = "photos_without_result"  # name of a counter of Beam


class Job(NamedTuple):
    """All that a worker needs to know beside the photo.

    Attributes:
        out: folder of the results.
        looks: attributes and styles to draw.
        network: position network directory, "" for the one that comes with the project.
        form: see `wearing.wear_photos`.
        most: largest number of faces of each photo; None for all.
        draw: draws on one face, see `wear.wear_photo`.
    """

    out: str
    looks: Looks
    network: str = ""
    form: str = "png"
    most: int | None = None
    draw: Draw = wear.wear_photo


class Task(NamedTuple):
    """A photo, and the names of its results."""

    name: str
    path: str
    results: tuple[str, ...]


def wear_photos(photos: Sequence[PhotoFile], job: Job, runner: str, options: Sequence[str] = ()) -> str:
    """Draws attributes on photos, and writes a manifest in several files, `manifest-00000-of-00004.csv`.

    The images are those of `wearing.wear_photos`, and so are the columns. A photo without a result has a row with the
    reason. There is no sheet. Results of an earlier call are written again, and its manifest and sheet are removed.

    Args:
        photos: see `photo_files.find`. The workers must reach them under the same paths.
        job: what to draw, and where.
        runner: name of a runner of Beam, such as "DirectRunner" or "DataflowRunner".
        options: options of the pipeline, such as "direct_num_workers=4".

    Returns:
        A line that sums up the results.

    Raises:
        ImportError: Apache Beam is not installed.
        ValueError: the runner or an option is unknown, or there is no result at all.
        FileExistsError: a file in the way of the manifest was not written by this command.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ImportError("--runner needs Apache Beam; install it by pip install -e '.[beam]'") from error
    names = [photo.name for photo in photos]
    suffix = functools.partial(picture_files.suffix, form=job.form)
    reserved = (photo_files.MANIFEST, photo_files.SHEET)
    results = output_names.assign(names, suffix, job.looks.per_image, reserved)
    tasks = [Task(photo.name, str(photo.path), results[photo.name]) for photo in photos]
    try:
        pipeline = beam.Pipeline(
            runner, PipelineOptions([f"--{option}" for option in options], save_main_session=False)
        )
    except ValueError as error:
        raise ValueError(f"--runner={runner}: {error}") from error
    _finder(job.network)  # refused here, not in each worker
    _clear(epath.Path(job.out))  # last, as a mistake in a flag must not cost the manifest of an earlier call
    header = ",".join(manifest.columns_of(wearing.COLUMNS))
    failures = beam.metrics.Metrics.counter(SHARDS, _FAILURES)
    rows = (
        pipeline
        | "Photos" >> beam.Create(tasks)
        | "Spread" >> beam.Reshuffle()
        | "Draw" >> beam.FlatMap(functools.partial(_lines, job, failures.inc))
    )
    _ = rows | "Manifest" >> beam.io.WriteToText(f"{job.out}/{SHARDS}", ".csv", header=header)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(beam.metrics.MetricsFilter().with_name(_FAILURES))["counters"]
    return _summarise(len(tasks), sum(counter.result for counter in counters), job.out)


def _summarise(photos: int, failures: int, out: str) -> str:
    """Returns a line on the numbers of photos; raises `ValueError` where all failed."""
    if failures >= photos:
        count = "1 photo" if photos == 1 else f"{photos} photos"
        raise ValueError(
            f"nothing could be done with {count} of --input; see {printable(epath.Path(out) / SHARDS)}-*.csv"
        )
    done = f"{photos - failures} of {photos}" if failures else photos
    return (
        f"{done} photos done; images and {SHARDS}-*.csv, with a row for each face or the reason for none, in "
        f"{printable(out)}"
    )


def _clear(out: epath.Path) -> None:
    """Makes the folder of the results, and removes manifest and sheet of an earlier call; other files are refused.

    Those of a call without a runner go too: it would take images of this call for its own.
    """
    outputs.check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    paths = [path for path in (*out.glob(f"{SHARDS}-*.csv"), out / photo_files.MANIFEST) if outputs.exists(path)]
    for path in paths:
        with path.open("rb") as file:
            manifest.check_own(file.readline(), path, manifest.columns_of(wearing.COLUMNS), wearing.BY)
    sheet = out / photo_files.SHEET
    for path in [*paths, *([sheet] if outputs.made_by(sheet) == wearing.BY else [])]:
        path.unlink()


def _lines(job: Job, count_failure: Callable[[], object], task: Task) -> Iterator[str]:
    """Yields the rows of the manifest of one photo as text, after its images are written; runs in a worker.

    Args:
        job: what to draw, and where.
        count_failure: called for a photo without a result.
        task: the photo.
    """
    columns, rows = manifest.columns_of(wearing.COLUMNS), _rows(job, task)
    if not any(row.get("out") for row in rows):
        count_failure()
    for row in rows:  # one by one: names may contain what `splitlines` takes for the end of a line
        yield manifest.encode([row], columns).decode().removesuffix("\n")


def _rows(job: Job, task: Task) -> list[manifest.Row]:
    """Draws and writes the images of one photo, and returns its rows of the manifest."""
    photo = PhotoFile(task.name, epath.Path(task.path))
    finder = _finder(job.network)
    settings = manifest.describe_settings(
        wearing.settings_of(job.looks, finder, job.form, job.most, with_landmarks=False)
    )
    fixed = {"file": photo.label} | manifest.state_columns(photo.path, settings)
    notes: list[str] = []
    rows: list[manifest.Row] = []
    try:
        for _, picture in photo_files.read([photo], lambda _, line: notes.append(line)):
            faces = finder.find(picture.pixels, most=job.most)
            if not faces:
                notes.append(wearing.NO_FACE)
                continue
            for made in wearing.make_images(
                task.name, picture, faces, task.results, job.looks, finder.layout, job.draw
            ):
                picture_files.write(epath.Path(job.out) / made.name, made.image, picture, wearing.BY)
                rows += made.rows
    except OSError as error:
        rows, notes = [], [photo_results.failure(error)]
    except Exception as error:  # one photo of millions must not end the pipeline
        rows, notes = [], [f"failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"]
    if notes:  # what an earlier call made, or this one before the error
        for path in (epath.Path(job.out) / name for name in task.results):
            with contextlib.suppress(OSError):
                if outputs.made_by(path) == wearing.BY:
                    path.unlink()
    rows += [{"attribute": job.looks.label, "note": note} for note in notes]
    return [row | fixed for row in rows]


@functools.cache  # once in each worker: reading and compiling a network takes seconds
def _finder(network: str) -> Finder:
    return finders.read_finder(network)
