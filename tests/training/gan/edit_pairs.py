"""Rendered faces of 8 pixels, and the settings of a stage `fusion` on them."""

import dataclasses

import numpy as np

import tfds_megn
from sdgan_jax import config as c
from sdgan_jax.data.rendered import Faces
from tests.training import tiny

PARAMS = np.stack([tfds_megn.sample_params(identity) for identity in range(6)])
LABELS = np.int32([0, 1, 4, 0, 2, 4])  # none, mask, beard, none, eyeglasses, beard


def read(dataset, split, data_dir, count):
    """Stands for `data.rendered.read`: the first of six faces."""
    images = tfds_megn.render(PARAMS, LABELS, 8)
    return Faces(images, LABELS, np.arange(6, dtype=np.int32), PARAMS).first(count)


def config(**fields):
    """Pairs of rendered faces, with a tiny E."""
    staged = c.StagedConfig(targets=16)
    fusion = c.FusionConfig(width=8, width_max=8, blocks=1, kernel=3, removal=True)
    encoder = c.EncoderConfig(width=4, width_max=4, hidden=8, rank=2)
    given = dict(
        dataset="megn/rendered_8",
        recipe="staged",
        latent_space="w",
        basis_length=3.0,
        staged=staged,
        fusion=fusion,
        encoder=encoder,
    )
    return tiny.config(**given | fields)


def trees(config):
    """A random model, as `weights.read` returns it, of moderate colours: G's random images saturate."""
    state = tiny.random_state(config)
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: fields[name] for name in ("ema_g", "buffers_g", "params_d", "params_e", "w_avg", "basis")}
