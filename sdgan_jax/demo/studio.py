"""The studio answers every request of a visitor, as a function that needs no page."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sdgan_jax import outputs, pictures
from sdgan_jax.demo import changes, examples, opened_photo
from sdgan_jax.demo.changes import Look
from sdgan_jax.demo.generation import Generator, Recipe
from sdgan_jax.demo.limits import Limits
from sdgan_jax.demo.opened_photo import OpenedPhoto
from sdgan_jax.demo.shelf import Shelf
from sdgan_jax.demo.worker import Deadline, Worker
from sdgan_jax.face3d.attire import styles
from sdgan_jax.photos import editing, looks
from sdgan_jax.photos.finders import Finder
from tfds_megn.photos import Picture

BY = f"{outputs.MADE_BY} demo"
STEPS = 60  # of the search for the latents of a face by a model without encoder
_SEEDS, _SEARCH, _EDIT = "faces from seeds", "search", "edit"  # programs
Result = TypeVar("Result")


class Made(NamedTuple):
    """A changed photo.

    Attributes:
        picture: its pixels, with the metadata of the photo that it was made from.
        name: name of the file to download.
    """

    picture: Picture
    name: str


class Studio:
    """Answers requests of several visitors, one at a time. Tokens stand for what is kept in memory."""

    def __init__(self, model: Any, finder: Finder, limits: Limits):
        """Prepares the answers; nothing is compiled yet.

        Args:
            model: see `sdgan_jax.load`.
            finder: finds faces.
            limits: limits of each request.
        """
        self.model, self.finder, self.limits = model, finder, limits
        self.shelf, self.worker = Shelf(), Worker()
        self.steps = None if "E" in model.params else STEPS
        self._generator = Generator(model)
        self._examples: dict[str, OpenedPhoto] = {}
        self._drawn: dict[str, np.ndarray] = {}
        self._drawing = threading.Lock()
        self._compiling: dict[str, threading.Lock] = collections.defaultdict(threading.Lock)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that the model can put on and take off."""
        return tuple(self.model.config.attributes[1:])

    def explain_missing(self) -> str | None:
        """Returns a line on why the model edits no attributes, see `editing.explain_missing`."""
        return editing.explain_missing(self.model)

    def generate(self, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
        """Draws a face without and with attributes, see `Generator.draw`."""
        return self.run(lambda end: self._generator.draw(recipe), _SEEDS)

    def open(self, data: bytes, name: str) -> str:
        """Reads a photo and finds its faces, small ones only where there is no large one; returns its token."""
        photo = opened_photo.read(data, name, self.limits)
        return self.keep(self.run(lambda end: opened_photo.find_faces(photo, self.finder, self.limits), _SEARCH))

    def open_example(self, name: str) -> str:
        """Draws one of `examples.NAMES`, or takes the one drawn before; returns its token."""

        def find(end: Deadline) -> OpenedPhoto:
            if name not in self._examples:
                photo = opened_photo.from_pixels(self.draw_example(name), f"{name.replace(' ', '_')}.png")
                self._examples[name] = opened_photo.find_faces(photo, self.finder, self.limits)
            return self._examples[name]

        return self.keep(self.run(find, _SEARCH))

    def draw_example(self, name: str) -> np.ndarray:
        """Draws one of `examples.NAMES`, u8[H,W,3], or takes the one drawn before."""
        with self._drawing:
            if name not in self._drawn:
                self._drawn[name] = examples.draw(name, self.model)
            return self._drawn[name]

    def search(self, token: str) -> str:
        """Searches an opened photo for small faces too; returns the token of the photo with all its faces."""
        photo = self.shelf.get(token)
        found = self.run(lambda end: opened_photo.find_faces(photo, self.finder, self.limits, small=True), _SEARCH)
        self.shelf.drop(token)
        return self.keep(found)

    def edit(self, token: str, numbers: Sequence[Any], edit: editing.Edit) -> str:
        """Edits faces of an opened photo; returns the token of a `Made`."""
        photo = self.shelf.get(token)
        faces = photo.choose(numbers)
        image = self.run(lambda end: changes.edit(self.model, photo, faces, edit, self.finder.layout, end), _EDIT)
        return self._made(photo, image, edit.label)

    def dress(self, token: str, numbers: Sequence[Any], worn: Mapping[str, Look]) -> str:
        """Draws attributes on faces of an opened photo in 3D; returns the token of a `Made`."""
        photo = self.shelf.get(token)
        return self._made(photo, self.draw_on(photo, photo.choose(numbers), worn), "+".join(worn) or "plain")

    def draw_on(self, photo: OpenedPhoto, faces: Sequence[int], worn: Mapping[str, Look]) -> np.ndarray:
        """Draws attributes on faces of a photo, by their indices, in 3D; returns u8[H,W,3]."""
        programs = (f"{name}, {look.kind}" for name, look in worn.items())
        return self.run(lambda end: changes.dress(photo, faces, worn, self.finder.layout, end), *programs)

    def read_texture(self, data: bytes, name: str) -> np.ndarray:
        """Decodes a texture u8[h,w,4].

        Raises:
            ValueError: it is too large, or not an image that can be read.
        """
        if len(data) > self.limits.megabytes * 2**20:
            raise ValueError(f"{name}: enormous file (more than {self.limits.megabytes} MiB)")
        return looks.decode_texture(data, name, self.limits.megapixels * 10**6)

    def download(self, token: str) -> tuple[str, bytes]:
        """Returns name and bytes of the PNG file of a `Made`, with the profile and the EXIF data of its photo.

        Raises:
            ValueError: it is no longer kept.
        """
        made = self.shelf.get(token)
        picture = made.picture
        return made.name, pictures.encode_png(picture.pixels, BY, picture.icc_profile, picture.exif, picture.dpi)

    def keep(self, photo: OpenedPhoto) -> str:
        """Keeps an opened photo; returns its token."""
        return self.shelf.put(photo, photo.size)

    def run(self, work: Callable[[Deadline], Result], *programs: str) -> Result:
        """Does the work of a request within its time.

        Args:
            work: function of the deadline.
            programs: names of what it compiles; of two threads that want the same, one waits for the other.
        """

        def work_alone(end: Deadline) -> Result:
            with contextlib.ExitStack() as held:
                for name in sorted(programs):
                    held.enter_context(self._compiling[name])
                return work(end)

        return self.worker.run(work_alone, self.limits.seconds)

    def _made(self, photo: OpenedPhoto, image: np.ndarray, label: str) -> str:
        name = f"{os.path.splitext(photo.name)[0]}_{label.replace(' ', '_')}.png"
        # Without the pixels of the photo, which would be kept as long as the result.
        made = Made(dataclasses.replace(photo.picture, pixels=image), name)
        return self.shelf.put(made, opened_photo.measure(made.picture))


def default_looks(attribute: str) -> dict[str, Look]:
    """Returns the usual look of one attribute.

    Raises:
        ValueError: it cannot be worn.
    """
    return {attribute: Look(styles.default_style(attribute).kind)}
