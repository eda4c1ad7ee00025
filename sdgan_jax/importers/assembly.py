"""Assembly of a model from the arrays of a file: the config follows from their shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax import config as config_lib
from sdgan_jax.config import Config, DiscriminatorConfig, GeneratorConfig
from sdgan_jax.importers import layouts
from sdgan_jax.importers.layouts import Table
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import state as state_lib

W_AVG_SAMPLES = 10_000  # latents that the average w is computed from where a file has none


@dataclasses.dataclass
class Format:
    """The names of a public format for the arrays of the networks.

    Attributes:
        generator: function of (resolution, mapping layers, classes) that returns the table of G: `ema_g/…` and
            `buffers_g/…`.
        discriminator: function of (resolution, classes) that returns the table of D: `params_d/…`.
    """

    generator: Callable[[int, int, int], Table]
    discriminator: Callable[[int, int], Table]


@dataclasses.dataclass
class Parts:
    """The networks that an importer finds in a file.

    Attributes:
        resolution: height and width of the images in pixels.
        mapping_layers: number of layers of the mapping network.
        generator: arrays of G under the format's names.
        discriminator: arrays of D, None where the file has no D.
        w_avg: average w, f32[D]; None where the file has none.
        label_dim_g: classes of a conditional G, 0 for a plain one.
        label_dim_d: classes of a conditional D.
        options_g: other fields of `GeneratorConfig`.
        options_d: other fields of `DiscriminatorConfig`.
        notes: lines for the user.
    """

    resolution: int
    mapping_layers: int
    generator: Mapping[str, np.ndarray]
    discriminator: Mapping[str, np.ndarray] | None = None
    w_avg: np.ndarray | None = None
    label_dim_g: int = 0
    label_dim_d: int = 0
    options_g: dict[str, Any] = dataclasses.field(default_factory=dict)
    options_d: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Imported:
    """A model for `training.gan.weights.write`, and lines for the user."""

    config: Config
    trees: dict[str, Any]
    notes: list[str]


@dataclasses.dataclass
class Network:
    """A network other than a GAN for `pretrained.write`, and lines for the user.

    Attributes:
        kind: name of the kind of network, such as "identity".
        settings: the settings that the network is built with.
        variables: the collections of arrays.
        description: a few words for the user.
        notes: lines for the user.
    """

    kind: str
    settings: dict[str, Any]
    variables: dict[str, Any]
    description: str
    notes: list[str] = dataclasses.field(default_factory=list)


def assemble(source: str, form: Format, parts: Parts) -> Imported:
    """Assembles a model from the arrays of a file.

    Args:
        source: name of the file in messages.
        form: the names of its format.
        parts: the networks in the file.

    Returns:
        The model, without F; its only attribute is `none`.

    Raises:
        FileError: the arrays do not make up a StyleGAN2.
    """
    sizes = [4 << i for i in range(parts.resolution.bit_length() - 2)]
    if sizes[-1:] != [parts.resolution] or not 8 <= parts.resolution <= 1024:
        raise FileError(f"{source}: images of {parts.resolution} pixels; it must be a power of two from 8 to 1024")
    table_g = form.generator(parts.resolution, parts.mapping_layers, parts.label_dim_g)
    table_d = form.discriminator(parts.resolution, parts.label_dim_d)
    config = _config(parts, sizes, table_g, table_d)
    shapes = expected_shapes(config)
    shapes_g = {path: shape for path, shape in shapes.items() if path in table_g}
    ours = layouts.take(source, "the generator", parts.generator, table_g, shapes_g)
    notes = list(parts.notes)
    if parts.discriminator is None:
        notes.append("the file has no discriminator")
    else:
        shapes_d = {path: shape for path, shape in shapes.items() if path in table_d}
        ours |= layouts.take(source, "the discriminator", parts.discriminator, table_d, shapes_d)
    trees: dict[str, Any] = flax.traverse_util.unflatten_dict(ours, sep="/")
    trees["basis"] = np.zeros((1, config.generator.latent_dim), np.float32)
    trees["w_avg"], note = _w_avg(source, config, trees, parts)
    return Imported(config, trees, notes + note)


def expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the arrays of G and D of a config by path."""
    state = jax.eval_shape(lambda: state_lib.init_state(make_networks(config)))
    return layouts.shapes_of({name: getattr(state, name) for name in ("ema_g", "buffers_g", "params_d")})


def _config(parts: Parts, sizes: list[int], table_g: Table, table_d: Table) -> Config:
    """Returns the config of a plain StyleGAN2 with the sizes of the arrays."""
    mapping = [f"ema_g/mapping/dense_{index}/bias" for index in range(parts.mapping_layers)]
    latent_dim = next((width for path in mapping if (width := layouts.width(parts.generator, table_g, path))), 512)
    widths_g = _widths(parts.generator, table_g, [f"ema_g/synthesis/conv_{size}/bias" for size in sizes])
    generator = GeneratorConfig(
        latent_dim=latent_dim,
        mapping_layers=parts.mapping_layers,
        label_dim=parts.label_dim_g,
        **channel_rule(widths_g),
        **parts.options_g,
    )
    widths_d = widths_g
    if parts.discriminator is not None:
        paths = [f"params_d/block_{size // 2}/conv_0/bias" for size in sizes[1:]]
        widths_d = _widths(parts.discriminator, table_d, ["params_d/conv_4/bias", *paths])
    discriminator = DiscriminatorConfig(label_dim=parts.label_dim_d, **channel_rule(widths_d), **parts.options_d)
    kind = "rendered" if parts.resolution <= 256 else "photos"
    return config_lib.validate(
        Config(
            dataset=f"megn/{kind}_{parts.resolution}",
            resolution=parts.resolution,
            attributes=("none",),
            face_crop="ffhq",
            generator=generator,
            discriminator=discriminator,
            latent_space="w",
        )
    )


def _widths(arrays: Mapping[str, np.ndarray], table: Table, paths: list[str]) -> list[int]:
    """Returns the numbers of channels from the resolution 4 up; a missing one equals the one below."""
    widths: list[int] = []
    for path in paths:
        widths.append(layouts.width(arrays, table, path, widths[-1] if widths else 512))
    return widths


def channel_rule(widths: list[int]) -> dict[str, Any]:
    """Returns config fields for channels at 4, 8, …: StyleGAN2's rule min(base / r, max) if it fits, else a list."""
    sizes = [4 << i for i in range(len(widths))]
    for base, most in ((32768, 512), (16384, 512), (sizes[-1] * widths[-1], max(widths))):
        if [min(base // size, most) for size in sizes] == widths:
            return {"channel_base": base, "channel_max": most}
    return {"channels": tuple(widths)}


def _w_avg(source: str, config: Config, trees: dict[str, Any], parts: Parts) -> tuple[np.ndarray, list[str]]:
    """Returns the average w of the file, or of `W_AVG_SAMPLES` latents, and lines for the user."""
    dim, given = config.generator.latent_dim, parts.w_avg
    if given is not None:
        w_avg = np.asarray(given, np.float32).reshape(-1)
        if w_avg.shape != (dim,) or not np.isfinite(w_avg).all():
            raise FileError(f"{source}: the average w is {list(given.shape)} or not finite; it must be [{dim}]")
        return w_avg, []
    if parts.label_dim_g:
        return np.zeros(dim, np.float32), ["the file has no average w, so that truncation pulls towards 0"]
    nets = make_networks(config)
    z = jax.random.normal(jax.random.key(0), (W_AVG_SAMPLES, dim))
    w_avg = jnp.mean(jax.jit(nets.map)({"params": trees["ema_g"]}, z), 0)
    return np.asarray(w_avg), [f"the file has no average w; it was computed from {W_AVG_SAMPLES} latents"]
