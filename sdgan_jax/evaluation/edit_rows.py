"""Rows of the edit benchmark: ways to edit a face, from leaving it alone to SD-GAN with 3D."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sdgan_jax import blending, latents, pictures, pretrained
from sdgan_jax.data.batches import map_batches
from sdgan_jax.evaluation.edit_cases import Case
from sdgan_jax.face3d.attire import wear
from sdgan_jax.model import Model
from sdgan_jax.pretrained import archive, directories

UNBLENDED = "sdgan (unblended)"
RESERVED = ("source", "true", "inversion", "wear", "basis", "sdgan", UNBLENDED)
_BATCH = 16
_ALIKE = 2e-3  # greatest difference of the arrays of one G, relative to their largest number: float16 against float32

Draw = Callable[[float, int | None], np.ndarray]  # strength, number of the first faces -> u8[N,R,R,3]


class Row(NamedTuple):
    """Faces of a case edited in one way.

    Attributes:
        name: name of the row.
        draw: draws the edit; 1 is the full strength.
        has_strength: whether the strength makes a difference.
    """

    name: str
    draw: Draw
    has_strength: bool


class Mover(NamedTuple):
    """A move of latents by a basis and, with F, an offset.

    Attributes:
        model: the model whose G and F are used.
        basis: f32[A,D], with the length of the full edit.
        offsets: whether F's offset is added.
    """

    model: Model
    basis: jax.Array
    offsets: bool


class Faces(NamedTuple):
    """Sources of a case, as the rows need them.

    Attributes:
        images: f32[N,R,R,3] in [-1,1].
        latent: z f32[N,D] or w+ f32[N,L,D].
        plain: f32[N,R,R,3], G's picture of the latent.
        maps: f32[N,S,S,3], position maps found.
    """

    images: jax.Array
    latent: jax.Array
    plain: jax.Array
    maps: jax.Array


class Editors:
    """All ways to edit that a model, its bases and its variants give.

    Attributes:
        movers: the moves of latents by their names, in the order of the rows.
    """

    def __init__(self, model: Model, bases: Mapping[str, jax.Array], variants: Mapping[str, Model]):
        """Checks that the variants have the model's G.

        Args:
            model: the model.
            bases: f32[A,D] of each estimator, see `read_bases`; without any the model's own is the row `basis`.
            variants: models with another F, by the names of their rows.

        Raises:
            ValueError: a variant has a name that is taken, other attributes, or another G.
        """
        own = model.config.basis_length * model.params["basis"]
        named = {f"basis:{name}": basis for name, basis in bases.items()} or {"basis": own}
        self.movers = {name: Mover(model, basis, False) for name, basis in named.items()}
        for name, variant in variants.items():
            _check_variant(name, model, variant, [*RESERVED, *self.movers])
            self.movers[name] = Mover(variant, variant.config.basis_length * variant.params["basis"], True)
        if "F" in model.params:
            self.movers["sdgan"] = Mover(model, own, True)
        self._model = model
        self._position = pretrained.position_network(model.config.fusion.position_network)
        self._find_maps, self._blend = jax.jit(self._position), jax.jit(blending.blend)
        self._offset = {
            name: jax.jit(mover.model.nets.offset, static_argnames="max_attributes")
            for name, mover in self.movers.items()
            if mover.offsets
        }
        self._known: tuple[np.ndarray, Faces] | None = None

    def rows(self, case: Case) -> Iterator[Row]:
        """Yields the rows of a case, without the true faces; `wear` only where an attribute is put on."""
        faces = self._faces(case)
        yield Row("source", lambda _, count: case.sources[:count], False)
        yield Row("inversion", lambda _, count: pictures.to_uint8(np.asarray(faces.plain[:count])), False)
        if not case.removes:
            yield Row("wear", functools.partial(self._wear, case, faces), False)
        for name, mover in self.movers.items():
            moved = functools.cache(self._start(name, mover, case, faces))
            yield Row(name, functools.partial(self._blended, case, faces, moved), True)
            if name == "sdgan":
                yield Row(UNBLENDED, functools.partial(_unblended, moved), True)

    def names(self, removes: bool) -> list[str]:
        """Returns the names of the rows of a case, in their order."""
        found = ["source", "inversion"] + ([] if removes else ["wear"]) + list(self.movers)
        return found + ([UNBLENDED] if "sdgan" in self.movers else [])

    def _faces(self, case: Case) -> Faces:
        """Finds latents and position maps of the sources; those of the last ones are kept, which many cases share."""
        if self._known is None or self._known[0] is not case.sources:
            model, images = self._model, jnp.asarray(pictures.to_float(case.sources))
            find = model.encode if "E" in model.params else model.invert
            latent = find(images, worn=case.attribute if case.removes else None)
            maps = map_batches(self._find_maps, images, size=_BATCH)
            self._known = case.sources, Faces(images, latent, _draw(model, latent), maps)
        return self._known[1]

    def _start(self, name: str, mover: Mover, case: Case, faces: Faces) -> Draw:
        """Computes the offset of each face; returns the function that draws the moved latents, f32[N,R,R,3]."""
        model = mover.model
        weights = jnp.asarray(case.weights(model.config.attributes))
        offset = self._find_offset(name, model, faces, weights) if mover.offsets else jnp.zeros(len(weights))

        def draw(strength: float, count: int | None) -> np.ndarray:
            if strength == 0:
                return np.asarray(faces.plain[:count])
            latent = faces.latent[:count]
            moved = latents.edit(latent, weights[:count], mover.basis, _expand(offset[:count], latent), strength)
            return np.asarray(_draw(model, moved))

        return draw

    def _find_offset(self, name: str, model: Model, faces: Faces, weights: jax.Array) -> jax.Array:
        """Computes F's offset of each face, shaped like the latents; position maps are found once for all rows."""
        config = model.config
        shared = config.fusion.position_network == self._model.config.fusion.position_network
        maps = {"position_maps": faces.maps} if shared and model.nets.position is not None else {}

        def find(images: jax.Array, weights: jax.Array, *found: jax.Array) -> jax.Array:
            given = dict(zip(maps, found, strict=True))
            return self._offset[name](model.params["F"], images, weights, max_attributes=1, **given)

        offset = map_batches(find, faces.images, weights, *maps.values(), size=_BATCH)
        return offset[:, 0] if config.latent_space == "z" else offset

    def _blended(self, case: Case, faces: Faces, moved: Draw, strength: float, count: int | None) -> np.ndarray:
        """Blends moved faces into the sources, as `Model.edit` does."""
        blend = functools.partial(self._blend, removes=case.removes)
        edited = map_batches(
            blend, faces.images[:count], faces.plain[:count], jnp.asarray(moved(strength, count)), size=_BATCH
        )
        return pictures.to_uint8(np.asarray(edited))

    def _wear(self, case: Case, faces: Faces, strength: float, count: int | None) -> np.ndarray:
        """Draws the attribute in its usual style on the position maps found."""
        del strength
        layout = self._position.uv_layout

        def draw(image: jax.Array, position_map: jax.Array) -> jax.Array:
            return wear.wear(image, position_map, case.attribute, None, layout)[0]

        # Not compiled as a whole: the layout would become a constant, which XLA takes a minute to fold.
        worn = map_batches(jax.vmap(draw), faces.images[:count], faces.maps[:count], size=_BATCH)
        return pictures.to_uint8(np.asarray(worn))


def read_bases(path: epath.PathLike, config_attributes: tuple[str, ...], dim: int) -> dict[str, jax.Array]:
    """Reads the bases that the stage `basis` has written beside a model.

    Args:
        path: a model directory, a checkpoint, or the workdir of the recipe `staged`.
        config_attributes: the model's attributes.
        dim: D, size of its latents.

    Returns:
        For each estimator f32[A,D], with the length of the full edit; nothing where there is no file.

    Raises:
        ValueError: the file is damaged or belongs to a model with other attributes or latents.
    """
    file = directories.bases_of(path)
    if file is None:
        return {}
    arrays = archive.read(file)
    shape = (len(config_attributes), dim)
    bases = {}
    for name in sorted({key.split("/")[0] for key in arrays}):
        rows, lengths = arrays.get(f"{name}/rows"), arrays.get(f"{name}/lengths")
        if rows is None or lengths is None or rows.shape != shape or lengths.shape != shape[:1]:
            raise ValueError(f"{file}: {name} does not fit the model; estimate the bases again")
        bases[name] = jnp.asarray(lengths[:, None] * rows)
    return bases


def _unblended(moved: Draw, strength: float, count: int | None) -> np.ndarray:
    """Returns moved faces as G draws them."""
    return pictures.to_uint8(moved(strength, count))


def _draw(model: Model, latent: jax.Array) -> jax.Array:
    """Draws latents of the model's latent space: z f32[N,D] or w+ f32[N,L,D]."""
    return model.synthesize(model.map(latent) if model.config.latent_space == "z" else latent)


def _expand(offset: jax.Array, latent: jax.Array) -> jax.Array:
    """Gives an offset as many axes as the latents have."""
    return offset.reshape(offset.shape + (1,) * (latent.ndim - offset.ndim))


def _check_variant(name: str, model: Model, variant: Model, taken: list[str]) -> None:
    """Raises `ValueError` for a variant that cannot stand beside a model."""
    flag = f"--variants={name}=…"
    if name in taken:
        raise ValueError(f"{flag}: the name is taken; give another than {', '.join(taken)}")
    if variant.config.attributes != model.config.attributes:
        raise ValueError(f"{flag}: its attributes are {', '.join(variant.config.attributes)}, not those of --model")
    if "F" not in variant.params:
        raise ValueError(f"{flag}: it has no F; give a model with one")
    same_space = variant.config.latent_space == model.config.latent_space
    ours, theirs = (archive.flatten(each.params["G"]) for each in (model, variant))
    if not same_space or ours.keys() != theirs.keys() or not all(_alike(ours[key], theirs[key]) for key in ours):
        raise ValueError(f"{flag}: its G is not that of --model; give a model whose F was trained on the same G")


def _alike(first: jax.Array, second: jax.Array) -> bool:
    """Returns whether two arrays are equal but for rounding."""
    if first.shape != second.shape:
        return False
    limit = _ALIKE * max(float(jnp.abs(first).max(initial=0.0)), 1e-6)
    return bool(jnp.abs(first - second).max(initial=0.0) <= limit)
