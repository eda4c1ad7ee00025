"""Programs compiled in the background, so that the first visitor does not wait for them."""

from __future__ import annotations

import copy
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import tqdm

from sdgan_jax import pictures
from sdgan_jax.demo import examples, opened_photo
from sdgan_jax.demo.changes import Look
from sdgan_jax.demo.generation import Recipe
from sdgan_jax.demo.opened_photo import OpenedPhoto
from sdgan_jax.demo.studio import Studio, default_looks
from sdgan_jax.demo.worker import Worker
from sdgan_jax.face3d.attire import styles
from sdgan_jax.photos.editing import Edit

_SIDES = (512, 1024, 256)  # of pictures in which a face is drawn on at another size, the likeliest first
_COLOUR = "#806040"
_PAUSE = 0.2  # seconds


def start(studio: Studio) -> threading.Thread:
    """Compiles in a thread, with a progress bar on stderr; requests that come meanwhile go first."""
    thread = threading.Thread(target=_compile, args=(studio,), name="compile", daemon=True)
    thread.start()
    return thread


def _compile(studio: Studio) -> None:
    own = copy.copy(studio)
    own.worker = Worker()  # requests do not wait for what is being compiled
    began, jobs = time.monotonic(), list(list_jobs(own))
    bar = tqdm.tqdm(jobs, desc="compiling", unit="program", bar_format="{desc} {n_fmt}/{total_fmt} {bar:30} {elapsed}")
    for name, job in bar:
        bar.set_description(f"compiling {name}"[:32].ljust(32))
        while studio.worker.busy and not studio.worker.closed:
            time.sleep(_PAUSE)
        if studio.worker.closed:  # the server stops
            return
        try:
            job()
        except Exception as error:  # a request will meet it, and say so on the page
            if studio.worker.closed:
                return
            print(f"\ncompiling {name}: {error}", file=sys.stderr)
    print(f"everything is compiled, after {time.monotonic() - began:.0f} seconds", file=sys.stderr)


def list_jobs(studio: Studio) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields what is to be compiled: a name and a function, the likeliest requests first."""
    portrait = examples.NAMES[0]
    kept: list[OpenedPhoto] = []

    def open_portrait() -> None:
        token = studio.open_example(portrait)
        kept.append(studio.shelf.get(token))
        studio.shelf.drop(token)

    def edit(name: str, away: bool) -> None:
        token = studio.keep(kept[0])
        names = ([], [name]) if away else ([name], [])
        studio.shelf.drop(studio.edit(token, ["1"], Edit(*names, 1.0, studio.steps)))
        studio.shelf.drop(token)

    def forget(name: str) -> None:
        studio.shelf.drop(studio.open_example(name))

    def dress(name: str, look: Look, side: int) -> None:
        studio.draw_on(_shrunk(kept[0], side), [0], {name: look})

    yield "faces from seeds", lambda: studio.generate(Recipe(0, {}))
    yield "search for faces", open_portrait
    for first in studio.attributes[:1]:
        yield "putting on", functools.partial(edit, first, False)
        yield "taking off", functools.partial(edit, first, True)
    usual = [(name, look) for name in styles.KINDS for name, look in default_looks(name).items()]
    others = [(name, Look(kind)) for name, kinds in styles.KINDS.items() for kind in kinds[1:]]
    hair = [(name, Look(kind, _COLOUR)) for name in ("beard", "mustache") for kind in styles.KINDS[name]]
    jobs = [(_SIDES[0], usual), (_SIDES[1], usual), (_SIDES[0], others), (_SIDES[2], usual), (_SIDES[0], hair)]
    for side, looks in jobs:
        for name, look in looks:
            yield f"{name}, {look.kind}", functools.partial(dress, name, look, side)
    for name in examples.NAMES[1:]:
        yield name, functools.partial(forget, name)


def _shrunk(photo: OpenedPhoto, side: int) -> OpenedPhoto:
    """Returns a square photo and its faces at another size."""
    ratio = side / photo.picture.pixels.shape[1]
    faces = [
        face._replace(
            position_map=pictures.scale_positions(face.position_map, ratio).astype(np.float32), box=face.box * ratio
        )
        for face in photo.faces
    ]
    smaller = opened_photo.from_pixels(pictures.resize(photo.picture.pixels, side, side), photo.name)
    return OpenedPhoto(photo.name, smaller.picture, faces)
