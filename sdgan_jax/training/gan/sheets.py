"""Sample sheets of a training: the averaged generator on the same latents and faces at every step."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax import pictures
from sdgan_jax.latents import Latents
from sdgan_jax.networks import Networks
from sdgan_jax.training.gan.joint_step import reconstruct
from sdgan_jax.training.gan.state import State

ROWS = 8  # faces on the X_hat sheet
PAIRS = 4  # rows of sources, and of their X_rec, on the X_rec sheet
COLUMNS = 8  # faces in a row of the sheet of E
LATENT_SEED = 1234  # apart from the keys of training, so the latents of the sheets are not trained on


def make_sheets(nets: Networks, reals: dict[str, np.ndarray] | None) -> Callable[[State], dict[str, np.ndarray]]:
    """Returns the function that draws the two sheets of a state.

    `x_hat`: a row per latent, a column per attribute. `x_rec`: rows of sources, and below each its X_rec. With source
    "latent" the sources are faces G(latent), edited to the attribute of the column; with "data" they are real faces.

    Args:
        nets: the networks being trained.
        reals: real faces, {"image": u8[n,R,R,3], "attributes": f32[n,A]}, n >= 1; None with source "latent".

    Returns:
        A function from the state to {"x_hat": u8[H,W,3], "x_rec": u8[H,W,3]}.
    """
    config = nets.config
    count, names = config.num_attributes, list(config.attributes)
    key = jax.random.fold_in(jax.random.key(config.seed), LATENT_SEED)
    z = jax.random.normal(key, (ROWS, config.generator.latent_dim))
    faces = jnp.repeat(z, count, axis=0)
    columns = jnp.tile(jnp.eye(count), (ROWS, 1))
    pairs, shown = PAIRS * count, None
    if reals is not None:
        cycle = np.arange(pairs) % len(reals["image"])
        shown = pictures.to_float(reals["image"])[cycle], reals["attributes"][cycle]

    @jax.jit  # what is shown is an argument: of constants, XLA would compute the frozen networks while it compiles
    def draw_faces(state: State, shown: tuple[jax.Array, jax.Array] | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        variables = state.variables_ema
        w_plus = nets.to_w_plus(variables, faces, columns, state.basis)
        x_hat = nets.synthesize(variables, w_plus, "const")
        source, wanted = shown or (x_hat[::count].repeat(count, 0)[:pairs], columns[:pairs])
        drawn = Latents(faces[:pairs], None, None)
        x_rec = reconstruct(nets, state, state.params_f, variables, source, wanted, drawn, noise="const")[-1]
        return x_hat, source, x_rec

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        x_hat, source, x_rec = (pictures.to_uint8(np.asarray(images)) for images in draw_faces(state, shown))
        size = source.shape[1:]
        rows = np.stack((source.reshape(PAIRS, count, *size), x_rec.reshape(PAIRS, count, *size)), 1).reshape(-1, *size)
        labels = ["source", "X_rec"] * PAIRS
        return {
            "x_hat": pictures.grid(x_hat, count, column_labels=names),
            "x_rec": pictures.grid(rows, count, labels, names if reals is None else None),
        }

    return draw_sheets


def make_encoded(nets: Networks, reals: np.ndarray) -> Callable[[State], dict[str, np.ndarray]]:
    """Returns the function that draws the sheet `encoded` of a state: rows of real faces x, below each G(E(x)).

    Args:
        nets: the networks being trained; they have an encoder.
        reals: u8[n,R,R,3], real faces, n >= 1.

    Returns:
        A function from the state to {"encoded": u8[H,W,3]}.
    """
    columns = min(COLUMNS, len(reals))
    count = len(reals) // columns * columns
    reals = reals[:count]

    @jax.jit
    def rebuild(state: State, images: jax.Array) -> jax.Array:
        w_plus = nets.encode(state.params_e, images, state.w_avg)
        return nets.synthesize(state.variables_ema, w_plus, "const")

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        rebuilt = pictures.to_uint8(np.asarray(rebuild(state, pictures.to_float(reals))))
        shape = (-1, columns, *reals.shape[1:])
        rows = np.stack((reals.reshape(shape), rebuilt.reshape(shape)), 1).reshape(-1, *reals.shape[1:])
        return {"encoded": pictures.grid(rows, columns, ["x", "G(E(x))"] * (count // columns))}

    return draw_sheets
