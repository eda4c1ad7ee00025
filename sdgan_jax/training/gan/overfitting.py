"""Overfitting of D: its logits of training images, of held-out images and of generated ones.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", equation 1, measure it by

    r_v = (E[D(train)] - E[D(held out)]) / (E[D(train)] - E[D(generated)])

which is 0 without overfitting, and 1 where D takes held-out images for generated ones. `make_watch` measures it for the
journal, on images as they are. `logits_held_out` and `excess` measure it in the step, on augmented images, where the
augmentation follows it.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from sdgan_jax import pictures
from sdgan_jax.config import Config
from sdgan_jax.data import stream
from sdgan_jax.networks import Networks
from sdgan_jax.training import accumulation
from sdgan_jax.training.gan import inputs
from sdgan_jax.training.gan.state import State

IMAGES = 64  # of each kind, fewer where there are fewer
PASSES = 50  # over the training images, in which p should be able to go from 0 to 1
_LATENT_SEED = 4321  # apart from the keys of training and of the sheets


def read_images(config: Config) -> tuple[stream.Batch, stream.Batch] | None:
    """Reads the first images of the training and of the validation split.

    Args:
        config: see `stream.train_iterator`.

    Returns:
        Two batches of at most `IMAGES`, of whole groups of D's minibatch standard deviation; None where one is empty.
    """
    if not _is_split(config):
        return None
    group = config.discriminator.mbstd_group
    splits = [stream.Examples(config, name) for name in ("train", "validation")]
    counts = [min(IMAGES, len(split)) // group * group for split in splits]
    if not all(counts):
        return None
    first, second = (_read(split, count, group) for split, count in zip(splits, counts, strict=True))
    return first, second


def _read(split: stream.Examples, count: int, group: int) -> stream.Batch:
    """Reads the first images of a split in the order in which D sees batches."""
    batch, _ = split.read_whole(range(count))  # the training names broken images
    order = inputs.group_rows(batch["attributes"], group)
    return {name: rows[order] for name, rows in batch.items()}


def _is_split(config: Config) -> bool:
    """Returns whether the data set has training and validation images."""
    return {"train", "validation"} <= set(stream.split_names(config))


def read_held_out(config: Config, process_index: int, process_count: int) -> stream.Batch | None:
    """Reads the held-out images that the augmentation follows: as many as a batch has, repeated where there are fewer.

    Args:
        config: see `stream.train_iterator`.
        process_index: number of this process.
        process_count: number of processes; each reads the rows of its share of a batch.

    Returns:
        A batch of the first images of the validation split; None where the augmentation does not follow r_v.

    Raises:
        ValueError: the data set has no validation images.
    """
    augment = config.augment
    if augment.pipeline == "none" or augment.follows != "r_v":
        return None
    if not _is_split(config):
        raise ValueError(
            f"config.augment.follows is 'r_v', which is measured on held-out images, but {config.dataset} has no "
            "validation split; set --config.augment.follows=r_t"
        )
    examples, share = stream.Examples(config, "validation"), config.batch_size // process_count
    first = process_index * share
    return examples.read_whole([index % len(examples) for index in range(first, first + share)])[0]


def logits_held_out(nets: Networks, state: State, held_out: inputs.Batch) -> jax.Array:
    """Returns D's mean logit of held-out images, augmented as the training images are; inside the map over devices.

    Args:
        nets: the networks being trained.
        state: the state that the step starts with.
        held_out: the rows of this device, see `read_held_out`.

    Returns:
        f32, the mean over the rows of this device.
    """
    config, real = nets.config, pictures.to_float(held_out["image"])
    rows = real, held_out["attributes"], inputs.held_out_keys(config, state.step, len(real))

    def mean_logit(part: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        images, attributes, keys = part
        shown = nets.augment_for_d([images], keys, state.augment_p)
        return nets.discriminate(state.params_d, shown, attributes)[0].mean()

    return accumulation.mean_over_parts(mean_logit, rows, config.accumulate, config.discriminator.mbstd_group)


def excess(seen: jax.Array, unseen: jax.Array, generated: jax.Array, target: float) -> jax.Array:
    """Returns (seen - unseen) - target · (seen - generated), which has the sign of r_v - target where seen > generated.

    Args:
        seen: f32, D's mean logit of training images.
        unseen: f32, that of held-out images.
        generated: f32, that of generated images.
        target: the target of r_v, in [0,1].
    """
    return (seen - unseen) - target * (seen - generated)


def describe_adaptation(config: Config) -> str | None:
    """Returns a hint where few images are memorised long before the augmentation can follow; None elsewhere.

    D memorises images by passes over them, but p moves by images seen. The 500 kimg of Karras et al. 2020 are `PASSES`
    passes over 10,000 images.

    Args:
        config: see `stream.train_iterator`.
    """
    augment, count = config.augment, len(stream.Examples(config, "train"))
    if augment.pipeline == "none" or 1000 * augment.kimg <= 2 * PASSES * count:
        return None
    kimg = max(1, round(PASSES * count / 1000))
    return (
        f"hint: the {count} training images of {config.dataset} are memorised before the augmentation can adapt; "
        f"--config.augment.kimg={kimg} instead of {augment.kimg:g} lets it do so within {PASSES} passes over them"
    )


def make_watch(nets: Networks, images: tuple[stream.Batch, stream.Batch]) -> Callable[[State], dict[str, float]]:
    """Returns the function that measures a state.

    The numbers are the mean logits of D of training images, of held-out images, and of images that G draws with the
    attributes of the former, none of them augmented; and r_v.

    Args:
        nets: the networks being trained.
        images: see `read_images`.
    """
    config = nets.config
    real = [(pictures.to_float(batch["image"]), batch["attributes"]) for batch in images]
    key = jax.random.fold_in(jax.random.key(config.seed), _LATENT_SEED)
    z = jax.random.normal(key, (len(real[0][1]), config.generator.latent_dim))

    @jax.jit  # the images are arguments: of constants, XLA would compute D's frozen features while it compiles
    def compute(state: State, real: list[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
        variables, attributes = {"params": state.params_g, "buffers": state.buffers_g}, real[0][1]
        w_plus = nets.to_w_plus(variables, z, attributes, state.basis)
        drawn = nets.synthesize_scales(variables, w_plus, "const")  # all that D sees in training
        shown: list[tuple[jax.Array | list[jax.Array], jax.Array]] = [*real, (drawn, attributes)]
        return [nets.discriminate(state.params_d, images, worn)[0].mean() for images, worn in shown]

    def watch(state: State) -> dict[str, float]:
        seen, unseen, generated = (float(logit) for logit in compute(state, real))
        values = {"d_train": seen, "d_validation": unseen, "d_generated": generated}
        return values | {"r_v": (seen - unseen) / (seen - generated)} if seen != generated else values

    return watch
