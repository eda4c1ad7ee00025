"""The model that people use: loads a directory; generates, edits and discriminates faces."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.typing import ArrayLike

from sdgan_jax import arguments, blending, inversion, latents, pivotal, pretrained
from sdgan_jax.data.batches import map_batches
from sdgan_jax.latents import Attribute
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import directories, storage
from sdgan_jax.training.gan import weights

BATCH = 16  # images drawn in one call of the device


def load(path: epath.PathLike | None = None, best: bool = False, lpips: epath.PathLike = "") -> Model:
    """Opens a model.

    Args:
        path: a training workdir, one of its checkpoints (`<workdir>/checkpoints/<step>`), or a converted model
            directory; local or remote (`gs://…`). None or "" for the model that comes with the project.
        best: takes the checkpoint of a workdir with the best score instead of the newest.
        lpips: network directory of LPIPS, the perceptual distance of `invert` and `tune`; "" for features of the
            networks that come with the project.

    Returns:
        The model.

    Raises:
        FileNotFoundError: there is no model, or no LPIPS; the message says what to do.
        ValueError: a directory is damaged, or its arrays do not fit its config.
    """
    if not path:
        path = storage.SHIPPED_MODEL
        if directories.weights_of(path) is None:
            raise FileNotFoundError(f"no model comes with this installation ({path} has no weights); name a model")
    distance_to = pretrained.lpips_network(lpips).distance_to if lpips else None
    return Model(*weights.read(epath.Path(path).expanduser(), best), distance_to)


class Model:
    """G (moving average), D, F, E and the prior basis of a training, with the functions that users call.

    Attributes:
        nets: the networks as pure functions of their parameters.
        config: the config of the training.
        params: the trees of arrays `G` (params and buffers), `D`, `F`, `E`, and the arrays `basis` f32[A,D], whose rows
            are moves in units of `config.basis_length`, and `w_avg` f32[D]. Imported weights have no `F` and no `E`,
            and some have no `D`.
    """

    def __init__(self, nets: Networks, trees: dict[str, Any], distance_to: pretrained.DistanceTo | None = None):
        """Joins networks, their arrays, as `weights.read` returns them, and the perceptual distance, if it is given."""
        self.nets, self.config, self._given = nets, nets.config, distance_to
        self.params = weights.by_network(trees)
        self._map = jax.jit(nets.map)
        self._draw = jax.jit(nets.synthesize, static_argnames="noise")
        self._draw_random = jax.jit(nets.synthesize)
        self._discriminate = jax.jit(nets.discriminate)
        self._offset = jax.jit(nets.offset, static_argnames="max_attributes")
        self._to_w_plus = jax.jit(nets.to_w_plus)
        self._encode = jax.jit(nets.encode)
        self._search = jax.jit(functools.partial(inversion.invert, nets), static_argnums=0, static_argnames="steps")
        self._tune = jax.jit(functools.partial(pivotal.tune, nets), static_argnums=0, static_argnames="steps")

    def take(self, trees: dict[str, Any]) -> None:
        """Replaces the weights by others of the same config, such as a later state; nothing is compiled again."""
        self.params = weights.by_network(trees)

    def save(self, path: epath.PathLike, dtype: str = "float32") -> None:
        """Writes the model directory `path`: `config.json` and `weights.safetensors`, "float16" at half the size.

        Raises:
            FileExistsError: the path is a file, or a folder with something else than a model.
            ValueError: another dtype, or a number too large for float16.
        """
        arguments.check_dtype(dtype)
        path = epath.Path(path).expanduser()
        directories.check_target(path)
        trees = {"ema_g": self.params["G"]["params"], "buffers_g": self.params["G"]["buffers"]}
        trees |= {name: self.params[name] for name in ("basis", "w_avg")}
        trees |= {f"params_{net.lower()}": self.params[net] for net in "DFE" if net in self.params}
        weights.write(path, self.config, trees, np.dtype(dtype))

    def map(self, z: ArrayLike, label: ArrayLike | None = None) -> jax.Array:
        """Maps z f32[N,D] to w f32[N,D] by the mapping network.

        Args:
            z: f32[N,D], standard normal.
            label: class ids int[N] or weights f32[N,C]; conditional networks only.

        Raises:
            ValueError: for another shape, or a label that is missing or too much.
        """
        z = self._latent("z", z, 2)
        return self._map(self.params["G"], z, arguments.label(label, z.shape[0], self.config.generator.label_dim))

    def synthesize(self, w_plus: ArrayLike, noise: str | jax.Array = "const") -> jax.Array:
        """Draws images.

        Args:
            w_plus: f32[N,L,D], or w f32[N,D] for all layers.
            noise: "const", "none", or a PRNG key.

        Returns:
            f32[N,R,R,3], about [-1,1].

        Raises:
            ValueError: for another shape or noise.
        """
        w_plus = self._latent("w_plus", w_plus, np.ndim(w_plus))
        if w_plus.ndim == 2:
            w_plus = latents.broadcast_layers(w_plus, self.config.num_layers)
        return self._synthesize(w_plus, noise)

    def generate(
        self,
        z: ArrayLike,
        attribute: Attribute = "none",
        strength: float = 1.0,
        truncation: float = 1.0,
        noise: str | jax.Array = "const",
        truncation_cutoff: int | None = None,
        label: ArrayLike | None = None,
    ) -> jax.Array:
        """Draws faces with an attribute, by the prior basis alone.

        Args:
            z: f32[N,D], standard normal.
            attribute: a name, a list of names (their sum), or ids int[N].
            strength: 0 is the face without it, 1 the attribute as trained.
            truncation: psi; below 1 trades variety for typical faces.
            noise: "const", "none", or a PRNG key.
            truncation_cutoff: layers that are truncated, the coarse ones first; None for all.
            label: class ids int[N] or weights f32[N,C]; conditional networks only.

        Returns:
            f32[N,R,R,3], about [-1,1].

        Raises:
            ValueError: for an unknown attribute, a number out of its range, or another shape, noise or label.
        """
        z = self._latent("z", z, 2)
        arguments.check_finite(strength=strength, truncation=truncation)
        if truncation_cutoff is not None and truncation_cutoff not in range(self.config.num_layers + 1):
            raise ValueError(f"truncation_cutoff is {truncation_cutoff}; the layers are 0 to {self.config.num_layers}")
        attributes = latents.attribute_weights(attribute, self.config.attributes, z.shape[0])
        w_plus = self._to_w_plus(
            self.params["G"],
            z,
            attributes,
            self.params["basis"],
            arguments.label(label, z.shape[0], self.config.generator.label_dim),
            strength=strength,
            w_avg=self.params["w_avg"],
            truncation=truncation,
            truncation_cutoff=truncation_cutoff,
        )
        return self._synthesize(w_plus, noise)

    def discriminate(self, images: ArrayLike, label: ArrayLike | None = None) -> tuple[jax.Array, jax.Array | None]:
        """Applies D to images.

        Args:
            images: f32[N,R,R,3] in [-1,1].
            label: class ids int[N] or weights f32[N,C]; conditional networks only.

        Returns:
            Logits of being real f32[N], the means over the heads of a D with several; and attribute logits f32[N,A],
            None for a D without attributes.
            D compares the images of a batch (`layers.minibatch_stddev`, groups of `discriminator.mbstd_group`), so that
            logits of being real compare with those of as many images only, best of a multiple of the group.

        Raises:
            ValueError: the model has no D, or for another shape or label.
        """
        if "D" not in self.params:
            raise ValueError("this model has no discriminator; the weights that it was converted from have none")
        images = self._images(images)
        label = arguments.label(label, images.shape[0], self.config.discriminator.label_dim)
        logits, attribute_logits = self._discriminate(self.params["D"], images, label)
        return logits if logits.ndim == 1 else logits.mean(1), attribute_logits

    def offset(
        self, images: ArrayLike, attribute: Attribute = "none", remove: str | Sequence[str] | None = None
    ) -> jax.Array:
        """Returns the offset O that F adds to the prior basis for these faces.

        Args:
            images: f32[N,R,R,3] in [-1,1].
            attribute: as in `generate`.
            remove: a name or a list of names to take off; a model that has not learned to gives the negated offset.

        Returns:
            f32[N,D] in z, or f32[N,L,D] in w+, as the config's latent space is; zeros for "none".
        """
        images = self._images(images)
        attributes = latents.attribute_weights(attribute, self.config.attributes, images.shape[0], remove)
        return self._find_offset(images, attributes)

    def _find_offset(self, images: jax.Array, attributes: np.ndarray) -> jax.Array:
        """Computes the offset for weights f32[N,A] of attributes; see `offset`."""
        count = max(1, np.count_nonzero(attributes[:, 1:], axis=1).max(initial=0))
        compute = functools.partial(self._offset, self.params.get("F", {}), max_attributes=int(count))
        offset = map_batches(compute, images, attributes, size=BATCH)
        return offset[:, 0] if self.config.latent_space == "z" else offset

    def encode(self, images: ArrayLike, worn: str | Sequence[str] | None = None) -> jax.Array:
        """Computes the latents w+ of faces by the encoder E alone, without a search.

        Args:
            images: f32[N,R,R,3] in [-1,1].
            worn: a name or a list of names that all faces are known to wear; E recognises the attributes of others.

        Returns:
            f32[N,L,D].

        Raises:
            ValueError: the model has no encoder, for an unknown attribute, or for another shape.
        """
        if "E" not in self.params:
            raise ValueError(
                "this model has no encoder; find latents by `invert`, or train one: the stage 'encoder' of "
                "--config.recipe=staged"
            )
        images = self._images(images)
        return map_batches(
            lambda some, edit: self._encode(self.params["E"], some, self.params["w_avg"], edit),
            images,
            latents.attribute_weights("none", self.config.attributes, images.shape[0], worn),
            size=BATCH,
        )

    def invert(self, images: ArrayLike, steps: int | None = None, worn: str | Sequence[str] | None = None) -> jax.Array:
        """Finds latents that reproduce faces, by a search that starts at E(x) where the model has E; see `inversion`.

        Args:
            images: f32[N,R,R,3] in [-1,1].
            steps: steps of the search; None for `inversion.default_steps`. Each number is compiled once.
            worn: as in `encode`; for a model without E it makes no difference.

        Returns:
            z f32[N,D] where the config's latent space is "z", else w+ f32[N,L,D].

        Raises:
            ValueError: steps is negative, for an unknown attribute, or for another shape.
        """
        images, params_e = self._images(images), self.params.get("E")
        steps = inversion.default_steps(params_e) if steps is None else steps
        arguments.check_steps(steps)
        model = (self.params["G"], params_e, self.params["w_avg"], self.params["basis"])
        distance_to = self._distance_to if params_e or self._given else None
        find = functools.partial(self._search, distance_to, *model, steps=steps)
        known = latents.attribute_weights("none", self.config.attributes, images.shape[0], worn)
        return map_batches(find, images, known, size=BATCH)

    def tune(self, latent: jax.Array, images: ArrayLike, steps: int) -> Model:
        """Returns a model whose G draws given faces from their latents more exactly; see `pivotal`.

        Args:
            latent: the latents of the faces, as `encode` or `invert` returns them.
            images: f32[N,R,R,3] in [-1,1], the faces; best one alone.
            steps: steps of the optimisation, from 0 on. Each number is compiled once.

        Raises:
            ValueError: steps is negative, or for another shape.
        """
        arguments.check_steps(steps)
        tuned, model = copy.copy(self), (self.params["G"], self.params["basis"])
        images = self._images(images)
        latent = self._latent_of(latent, images)
        found = self._tune(self._distance_to, *model, latent, images, steps=steps)
        tuned.params = self.params | {"G": found}
        return tuned

    @functools.cached_property
    def _distance_to(self) -> pretrained.DistanceTo:
        """The perceptual distance of `invert` and `tune`; the networks are read when it is first needed."""
        return self._given or pretrained.perceptual_network().distance_to

    def edit(
        self,
        images: ArrayLike,
        attribute: Attribute = "none",
        strength: float = 1.0,
        remove: str | Sequence[str] | None = None,
    ) -> jax.Array:
        """Puts attributes on given faces, or takes them off: G(latent + strength · (B[y] + O)), O by `offset`.

        The latent is that of `encode` for a model with an encoder, which is told that the faces wear what is taken off;
        else that of `invert`. The edit is blended into the given face (`blending`): what it does not change stays as it
        was.

        Args:
            images: f32[N,R,R,3] in [-1,1].
            attribute: as in `generate`.
            strength: 0 gives the face back.
            remove: a name or a list of names to take off.

        Returns:
            f32[N,R,R,3], about [-1,1].

        Raises:
            ValueError: for an unknown attribute, one that is added and removed, a strength that is not finite, or
                another shape.
        """
        images = self._images(images)
        # All is checked before the search, which takes minutes without an encoder.
        arguments.check_finite(strength=strength)
        latents.attribute_weights(attribute, self.config.attributes, images.shape[0], remove)
        find = self.encode if "E" in self.params else self.invert
        return self.edit_latent(find(images, worn=remove), images, attribute, strength, remove)

    def edit_latent(
        self,
        latent: jax.Array,
        images: ArrayLike,
        attribute: Attribute = "none",
        strength: float = 1.0,
        remove: str | Sequence[str] | None = None,
    ) -> jax.Array:
        """Edits faces whose latents are known, so that several edits share one `invert`; see `edit`.

        Args:
            latent: the latents of the faces, as `encode` or `invert` returns them.
            images: f32[N,R,R,3] in [-1,1], the faces, which F sees.
            attribute: as in `generate`.
            strength: 0 gives the face back.
            remove: as in `edit`.

        Returns:
            f32[N,R,R,3], about [-1,1].

        Raises:
            ValueError: as `edit`.
        """
        drawn = self.draw_edit(latent, images, attribute, strength, remove)
        return map_batches(blending.lay_over, self._images(images), *drawn, size=BATCH)

    def draw_edit(
        self,
        latent: jax.Array,
        images: ArrayLike,
        attribute: Attribute = "none",
        strength: float = 1.0,
        remove: str | Sequence[str] | None = None,
    ) -> blending.Drawn[jax.Array]:
        """Draws faces from their latents without and with an edit, not blended; arguments as of `edit_latent`."""
        images = self._images(images)
        latent = self._latent_of(latent, images)
        arguments.check_finite(strength=strength)
        attributes = latents.attribute_weights(attribute, self.config.attributes, images.shape[0], remove)
        draw = functools.partial(self._draw_moved, latent, images, strength=strength)
        plain, edited = self._draw_moved(latent, images, attributes, 0.0), draw(attributes)
        return blending.Drawn(plain, edited, blending.region_of_all(plain, edited, attributes, draw))

    def _draw_moved(self, latent: jax.Array, images: jax.Array, attributes: np.ndarray, strength: float) -> jax.Array:
        """Draws latent + strength · (B[y] + O), in the latent space of the config."""
        basis, offset = self.params["basis"], self._find_offset(images, attributes) if strength else jnp.zeros(())
        if self.config.latent_space == "w":
            return self._synthesize(self.nets.edit(latent, jnp.asarray(attributes), basis, offset, strength), "const")
        offset = jnp.broadcast_to(offset, latent.shape)[:, None]
        moved = self._to_w_plus(self.params["G"], latent, attributes, basis, offset=offset, strength=strength)
        return self._synthesize(moved, "const")

    def _synthesize(self, w_plus: jax.Array, noise: str | jax.Array) -> jax.Array:
        """Draws w+ f32[N,L,D] in batches of `BATCH`; each smaller N is compiled for itself."""
        if isinstance(noise, str) and noise in ("const", "none"):
            return map_batches(lambda w: self._draw(self.params["G"], w, noise=noise), w_plus, size=BATCH)
        keys = arguments.noise_keys(noise, w_plus.shape[0])
        return map_batches(lambda w, k: self._draw_random(self.params["G"], w, k), w_plus, keys, size=BATCH)

    def _latent(self, name: str, latent: ArrayLike, ndim: int) -> jax.Array:
        return arguments.latent(name, latent, ndim, self.config.num_layers, self.config.generator.latent_dim)

    def _latent_of(self, latent: ArrayLike, images: jax.Array) -> jax.Array:
        """Returns the latents of these images, as `encode` and `invert` return them."""
        found = self._latent("z", latent, 2) if self.config.latent_space == "z" else self._latent("latent", latent, 3)
        if len(found) != len(images):
            raise ValueError(f"there are {len(found)} latents for {len(images)} images; give one for each")
        return found

    def _images(self, images: ArrayLike) -> jax.Array:
        return arguments.images(images, self.config.resolution)
