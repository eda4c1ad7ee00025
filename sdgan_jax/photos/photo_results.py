"""Folder of results: images made from photos, manifest.csv and sheet.png; written during the work, and resumable."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import posixpath
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tqdm
from etils import epath

from sdgan_jax import interrupts, outputs, pictures
from sdgan_jax.data.photo_files import MANIFEST, SHEET, PhotoFile
from sdgan_jax.photos import manifest, output_names
from sdgan_jax.photos.landmark_file import LandmarkFile
from sdgan_jax.photos.manifest import Row
from tfds_megn.listing import printable

SHEET_PHOTOS = 24
_EARLIER = "of an earlier call; not done again yet"
_SHOWN_NOTES = 20
_PAUSE = 10  # shortest pause between two writings of the manifest, in durations of the last one

T = TypeVar("T")


class PhotoResults:
    """Results that a command makes from photos.

    The context manager writes the manifest at the start, from time to time, and at the end, and the sheet at the end;
    both also after an error, Ctrl-C or SIGTERM.

    Attributes:
        out: the folder.
        todo: photos without a result of the same settings.
        names: names of the results of each photo, relative to the folder, by the photo's name.
        done: number of photos that had a result before.
    """

    def __init__(
        self,
        out: epath.Path,
        photos: Sequence[PhotoFile],
        by: str,
        columns: Sequence[str],
        settings: Mapping[str, Any],
        labels: Sequence[str],
        suffix: Callable[[str], str] = lambda name: ".png",
        count: int = 1,
        settled: Collection[str] = (),
        inputs: Iterable[epath.PathLike] = (),
        landmarks: LandmarkFile | None = None,
    ):
        """Plans the results without writing anything.

        Args:
            out: the folder.
            photos: photos given to the command.
            by: name of the command, see `outputs`.
            columns: columns of the manifest, with "file", "out" and "note" among them.
            settings: everything else that the results depend on, as plain values.
            labels: labels of the images that the sheet shows for each photo.
            suffix: function from the name of a photo to the suffix of its results.
            count: number of results for each photo.
            settled: notes of photos without a result that are not tried again.
            inputs: other files that are read and must not be replaced.
            landmarks: written with the manifest; photos that it does not contain are done again.

        Raises:
            FileExistsError: a file in the way was not written by this command.
            ValueError: a result would replace a file that is read, or the manifest cannot be read.
        """
        self._landmarks, self._settled, self._made, self._next_writing = landmarks, settled, 0, 0.0
        self.out, self._photos, self._by, self._labels = out, list(photos), by, list(labels)
        self._columns = manifest.columns_of(columns)
        self._states = manifest.describe_states(self._photos, settings)
        self._found = manifest.load(out / MANIFEST)
        before = manifest.parse(self._found, out / MANIFEST, self._columns, by)
        kept = self._kept(before, count)
        # Photos without a face are kept too, but have no results.
        there = {name: tuple(dict.fromkeys(row["out"] for row in rows if row["out"])) for name, rows in kept.items()}
        self.names = output_names.assign(
            [photo.name for photo in self._photos],
            suffix,
            count,
            (MANIFEST, SHEET),
            {name: results for name, results in there.items() if results},
        )
        self._read = {outputs.file_key(path) for path in (*(photo.path for photo in self._photos), *inputs)} - {None}
        self._check([name for photo in self._photos for name in self.names[photo.name]])
        self.todo = [photo for photo in self._photos if photo.name not in kept]
        self._there = {name for name, results in there.items() if results}
        self.done = len(self._there)
        self._lines = {name: self._encode(rows) for name, rows in kept.items()}
        self._others, self._earlier = self._other_lines(before), self._earlier_results(before)
        self._notes: list[tuple[PhotoFile, str]] = []
        self._cells: dict[str, np.ndarray] = {}
        self._open, self._bar = contextlib.ExitStack(), tqdm.tqdm(disable=True)
        self._stopped: Callable[[], bool] = lambda: False

    def work(self) -> Iterator[PhotoFile]:
        """Yields the photos of `todo`; raises as `until_stopped` does."""
        for photo in self.todo:
            self._check_stop()
            yield photo

    def until_stopped(self, ahead: Generator[T, None, None]) -> Iterator[T]:
        """Yields what was prepared ahead of the work on it, and closes the preparation when the work ends.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM came, and photos are left.
        """
        self._open.callback(ahead.close)
        for prepared in ahead:
            yield prepared
            self._check_stop()

    def _check_stop(self) -> None:
        if self._stopped() and len(self._lines) < len(self._photos):
            raise KeyboardInterrupt

    def path(self, name: str) -> epath.Path:
        """Returns the path of a result by its name."""
        return self.out / name

    def add(self, photo: PhotoFile, rows: Sequence[Row], cell: np.ndarray | None = None) -> None:
        """Records the finished results of a photo.

        Args:
            photo: one of `todo`.
            rows: rows of the manifest, one or more for each result; "file" and the columns of its state are added.
            cell: u8[K,S,S,3], the images for the sheet, one for each label.
        """
        made = {row["out"] for row in rows}
        self._made += len(made)
        self._remove(photo, made)
        self._enter(photo, rows)
        if cell is not None and len(self._cells) < SHEET_PHOTOS:
            self._cells[photo.name] = cell

    def skip(self, photo: PhotoFile, row: Row, note: str) -> None:
        """Records a photo without a result, with the reason; removes what an earlier call made of it."""
        if self._landmarks is not None and note not in self._settled:
            self._landmarks.drop(photo.label)
        if left := self._remove(photo):
            note += f"; {', '.join(left)} of an earlier call could not be removed"
        self._notes.append((photo, note))
        self._enter(photo, [row | {"note": note}])

    def rows(self) -> dict[str, list[Row]]:
        """Returns the rows of the manifest of the photos that are done, by the photo's name."""
        return {
            name: list(csv.DictReader(io.StringIO(lines.decode(), newline=""), self._columns))
            for name, lines in self._lines.items()
        }

    def complete(self, values: Mapping[str, Row]) -> None:
        """Enters values that are known only when all photos are done.

        Args:
            values: values by column, for the photos that have some, by the photo's name.
        """
        for name, rows in self.rows().items():
            self._lines[name] = self._encode([row | values.get(name, {}) for row in rows])

    def show(self, cell_of: Callable[[PhotoFile, list[epath.Path]], np.ndarray]) -> None:
        """Adds results of earlier calls to the sheet.

        Args:
            cell_of: reads the images u8[K,S,S,3] of a photo from the paths of its results. If it raises a ValueError or
                an OSError, the photo is left out.
        """
        for photo in self._photos:
            if len(self._cells) >= SHEET_PHOTOS:
                break
            if photo.name in self._there:
                with contextlib.suppress(ValueError, OSError):
                    self._cells[photo.name] = cell_of(photo, [self.path(name) for name in self.names[photo.name]])

    def __enter__(self) -> PhotoResults:
        with contextlib.ExitStack() as opened:
            opened.enter_context(outputs.alone_in(self.out))
            if manifest.load(self.out / MANIFEST) != self._found:
                raise RuntimeError(
                    f"another call wrote {printable(self.out / MANIFEST)} since this one read it; run the command again"
                )
            self._found = None
            self._write()
            self._open = opened.pop_all()
        self._stopped = self._open.enter_context(
            interrupts.stop_asked("stopping, after what is being done; Ctrl-C again stops at once")
        )
        desc, total = self._by.split()[-1], self.done + len(self.todo)
        self._bar = self._open.enter_context(tqdm.tqdm(desc=desc, unit="photo", initial=self.done, total=total))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, place: Any) -> None:
        """Writes the manifest and the sheet, also after an error, and adds the state of the work to the error."""
        try:
            with contextlib.nullcontext() if kind is None else contextlib.suppress(OSError):
                self._write()
                self._write_sheet()
        finally:
            self._open.close()
        self._print_notes()
        state = f"{len(self._lines)} of {_photos(len(self._photos))} done; the same command goes on there"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped; {state}") from error
        if isinstance(error, OSError) and outputs.stops_all(error):
            raise OSError(error.errno, f"{error.strerror}; {state}", error.filename) from error
        if kind is None and not self._made and not self.done:
            raise ValueError(
                f"nothing could be done with {_photos(len(self._photos))} of --input; see "
                f"{printable(self.out / MANIFEST)}"
            )

    def summary(self) -> str:
        """Returns one line on the numbers of results and of photos without one."""
        made = f"{self._made} image{'' if self._made == 1 else 's'} in {printable(self.out)}"
        if self.done:
            made += f", and those of {_photos(self.done)} done before"
        skipped = len(self._photos) - len(self.todo) - self.done + len(self._notes)
        without = f"; no image of {_photos(skipped)}, see {MANIFEST}" if skipped else ""
        return f"{made}{without}; before and after on {printable(self.out / SHEET)}"

    def _kept(self, before: dict[str, list[Row]], count: int) -> dict[str, list[Row]]:
        """Returns the rows of finished photos: same settings, same photo, and the results exist."""
        kept = {}
        for photo in self._photos:
            rows, state = before.get(photo.label, []), self._states[photo.name]
            if not rows or any(row[name] != value for row in rows for name, value in state.items()):
                continue
            if self._landmarks is not None and photo.label not in self._landmarks:
                continue
            made = [row["out"] for row in rows if row["out"] and not row["note"]]
            complete = len(made) == len(rows) and len(set(made)) == count
            if complete and all(outputs.made_by(self.out / name) == self._by for name in set(made)):
                kept[photo.name] = rows
            elif len(rows) == 1 and rows[0]["note"] in self._settled:
                kept[photo.name] = rows
        return kept

    def _check(self, names: list[str]) -> None:
        """Refuses names of files that this command did not write, and folders that are files."""
        for folder in {posixpath.dirname(name) for name in names}:
            if outputs.exists(self.out / folder) and not (self.out / folder).is_dir():
                raise FileExistsError(f"{printable(self.out / folder)} is in the way of a folder; move it away")
        out = os.fspath(self.out)
        for name in tqdm.tqdm([SHEET, *names], desc="checking", unit="file", delay=2.0, leave=False):
            path = posixpath.join(out, name)
            if not outputs.exists(path):
                continue
            outputs.check_own([path], self._by)
            if outputs.file_key(path) in self._read:
                raise ValueError(f"{printable(path)} is read and would be replaced; give another --out")

    def _other_lines(self, before: dict[str, list[Row]]) -> bytes:
        """Returns the rows of other photos, whose results this call does not replace."""
        labels = {photo.label for photo in self._photos}
        names = {name for names in self.names.values() for name in names}
        rows = [row for label, rows in before.items() if label not in labels for row in rows]
        return self._encode([row for row in rows if row["out"] not in names])

    def _earlier_results(self, before: dict[str, list[Row]]) -> dict[str, tuple[list[str], bytes]]:
        """Returns names and rows of results of photos that are done again; not those whose names other photos get."""
        owners = {name: photo for photo, names in self.names.items() for name in names}
        found = {}
        for name, label in ((photo.name, photo.label) for photo in self.todo):
            rows = [row for row in before.get(label, []) if row["out"] and owners.get(row["out"], name) == name]
            if rows:
                lines = self._encode([row | {"note": _EARLIER} for row in rows])
                found[name] = [row["out"] for row in rows], lines
        return found

    def _remove(self, photo: PhotoFile, made: Collection[str] = ()) -> list[str]:
        """Removes the results of a photo but for those just made; returns the names of those that cannot be removed."""
        earlier, _ = self._earlier.pop(photo.name, ([], b""))
        names = set(earlier) | set(self.names[photo.name])
        return [name for name in sorted(names - set(made)) if not self._remove_file(name)]

    def _remove_file(self, name: str) -> bool:
        """Removes a file of this command that is not read; returns whether none of these is left."""
        path = self.path(name)
        if outputs.made_by(path) != self._by or outputs.file_key(path) in self._read:
            return True
        with contextlib.suppress(OSError):
            path.unlink()
        return not outputs.exists(path)

    def _enter(self, photo: PhotoFile, rows: Sequence[Row]) -> None:
        """Stores the rows of a photo, and writes the manifest if the pause since the last writing is long enough."""
        fixed = {"file": photo.label} | self._states[photo.name]
        self._lines[photo.name] = self._encode([row | fixed for row in rows])
        self._bar.update()
        if time.monotonic() >= self._next_writing:
            self._write()

    def _encode(self, rows: Sequence[Row]) -> bytes:
        return manifest.encode(rows, self._columns)

    def _write(self) -> None:
        """Writes the manifest in the order of the photos; the rows of those to do are those of an earlier call."""
        began = time.monotonic()
        if self._landmarks is not None:  # first, so that it contains what the manifest says is done
            self._landmarks.write(photo.label for photo in self._photos)
        lines = {name: earlier for name, (_, earlier) in self._earlier.items()} | self._lines
        ordered = [lines[photo.name] for photo in self._photos if photo.name in lines]
        with outputs.in_one_piece(self.out / MANIFEST) as unfinished:
            unfinished.write_bytes(b"".join([",".join(self._columns).encode() + b"\n", *ordered, self._others]))
        now = time.monotonic()
        self._next_writing = now + _PAUSE * (now - began)

    def _write_sheet(self) -> None:
        """Writes the sheet of the first photos."""
        cells = [self._cells[photo.name] for photo in self._photos if photo.name in self._cells]
        if not cells:
            if not (self._made or self._there or self._earlier or self._others):
                self._remove_file(SHEET)  # it shows results that are no longer there
            return
        together = max(1, min(len(cells), 8 // len(self._labels)))  # photos in a row
        columns, labels = together * len(self._labels), self._labels * together
        sheet = pictures.grid(np.concatenate(cells), columns, column_labels=labels)
        pictures.write_png(self.out / SHEET, sheet, self._by)

    def _print_notes(self) -> None:
        """Prints the skipped photos and the reasons."""
        for photo, note in self._notes[:_SHOWN_NOTES]:
            line = note if note.startswith(photo.label) else f"{photo.label}: {note}"
            print(f"skipped {line}", file=sys.stderr)
        if len(self._notes) > _SHOWN_NOTES:
            more = len(self._notes) - _SHOWN_NOTES
            print(f"skipped {_photos(more)} more; see {printable(self.out / MANIFEST)}", file=sys.stderr)


def failure(error: OSError) -> str:
    """Returns a note on a result that was not written; raises errors of the whole disk again."""
    if outputs.stops_all(error):
        raise error
    return f"cannot be written ({error.strerror or error})"


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
