"""A run so small that a test can afford it: 8-pixel faces, nets of a few channels, weights drawn by numpy."""

import dataclasses
import functools
import io

import jax
import numpy as np
import optax
import tensorflow_datasets as tfds
from PIL import Image

from sdgan_jax import config as c
from sdgan_jax.config import hyperparameters
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import state as state_lib

ATTRIBUTES = ("none", "mask", "beard")
BATCH = 16


def config(**fields):
    """The pseudo-code of SD-GAN, literally, with tiny nets; `fields` replace any of it."""
    base = c.Config(
        dataset="tiny_run_faces",
        resolution=8,
        attributes=ATTRIBUTES,
        batch_size=BATCH,
        seed=5,
        generator=c.GeneratorConfig(12, mapping_layers=1, mapping_lr_mul=1.0, channel_base=64, channel_max=8),
        discriminator=c.DiscriminatorConfig(channel_base=64, channel_max=8, mbstd_group=4),
        fusion=c.FusionConfig(width=8, width_max=8, blocks=1, kernel=3),
    )
    return c.validate(dataclasses.replace(base, **fields))


def random_state(settings, seed=0):
    """A state whose arrays are all random: fresh biases, noise strengths and offsets are zero, which hides a lot."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: state_lib.init_state(make_networks(settings)))

    def draw(tree, scale=0.5):
        return jax.tree.map(lambda leaf: np.float32(scale * rng.standard_normal(leaf.shape)), tree)

    zeros = functools.partial(jax.tree.map, lambda leaf: np.zeros(leaf.shape, leaf.dtype))
    basis = draw(shapes.basis)
    basis[0], basis[1:] = 0, basis[1:] / np.linalg.norm(basis[1:], axis=1, keepdims=True)
    return shapes.replace(
        step=np.int32(0),
        hyperparameters={name: np.float32(value) for name, value in hyperparameters.read(settings).items()},
        params_g=draw(shapes.params_g, 1.0),
        params_d=draw(shapes.params_d, 1.0),
        params_f=draw(shapes.params_f),
        params_e=draw(shapes.params_e),
        ema_g=draw(shapes.ema_g, 1.0),
        buffers_g=draw(shapes.buffers_g),
        opt_g=zeros(shapes.opt_g),
        opt_d=zeros(shapes.opt_d),
        opt_f=zeros(shapes.opt_f),
        opt_e=zeros(shapes.opt_e),
        w_avg=draw(shapes.w_avg),
        basis=basis,
        path_mean=np.float32(0.5),
        augment_p=np.float32(0.3),
        augment_signs=np.float32(0.0),
    )


def random_batch(seed=0):
    """One batch on the host, one attribute a face."""
    rng = np.random.default_rng(seed)
    worn = np.eye(len(ATTRIBUTES), dtype=np.float32)[rng.integers(0, len(ATTRIBUTES), BATCH)]
    return {"image": rng.integers(0, 256, (BATCH, 8, 8, 3), dtype=np.uint8), "attributes": worn}


def first_moment(opt):
    """Adam's running mean of the gradient."""
    (moment,) = (part.mu for part in jax.tree.leaves(opt, is_leaf=is_adam) if is_adam(part))
    return moment


def count(opt):
    """Updates that Adam has made."""
    (number,) = (part.count for part in jax.tree.leaves(opt, is_leaf=is_adam) if is_adam(part))
    return int(number)


def is_adam(part):
    return isinstance(part, optax.ScaleByAdamState)


def named_leaves(tree):
    """Yields the name and the array of every leaf."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield jax.tree_util.keystr(path, simple=True, separator="/"), np.asarray(leaf)


class TinyRunFaces(tfds.core.GeneratorBasedBuilder):
    """Random faces of 8 pixels, a third of them with each attribute."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(ATTRIBUTES)),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        rng = np.random.default_rng(0)
        for i in range(2 * BATCH + 3):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
            file.seek(0)
            yield i, {"image": file, "label": i % 3}
