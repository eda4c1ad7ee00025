"""Trains the attribute classifier on rendered faces, and keeps it for the next evaluation."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import os
import sys
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.data import rendered
from sdgan_jax.nets.classifier import FEATURE_DIM, Classifier
from tfds_megn.data_dir import writing

VERSION = 1  # of everything that shapes the weights; a stored classifier of another version is not used
STEPS = 900
BATCH_SIZE = 64
LEARNING_RATE = 4e-3  # the peak, see `learning_rate`
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.05
FACE_WEIGHT = 0.2  # of the second task, see `_loss`
_EVAL_BATCH = 100


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and what it is worth.

    Attributes:
        params: the Linen variables of `nets.classifier.Classifier`.
        resolution: of the images it was trained on, in pixels.
        held_out_accuracy: share of `held_out_images` rendered faces of people it never saw that it gets
            right.
        held_out_images: how many these were.
    """

    params: Any
    resolution: int
    held_out_accuracy: float
    held_out_images: int

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classifies images, in batches of one shape.

        Args:
            images: f32[N,R,R,3] in [-1, 1], of any N and the classifier's resolution.

        Returns:
            logits f32[N,6], features f32[N,128].

        Raises:
            ValueError: when the images have another resolution.
        """
        if images.shape[1:] != (self.resolution, self.resolution, 3):
            raise ValueError(f"the classifier was trained at {self.resolution} px; it cannot judge {images.shape[1:]}")
        logits, features = [], []
        for start in range(0, len(images), _EVAL_BATCH):
            batch = images[start : start + _EVAL_BATCH]
            padding = [(0, _EVAL_BATCH - len(batch))] + [(0, 0)] * 3
            out = jax.device_get(_apply(self.params, np.pad(batch, padding)))
            logits.append(out[0][: len(batch)])
            features.append(out[1][: len(batch)])
        return np.concatenate(logits), np.concatenate(features)


def load_or_train(config: str, data_dir: str | os.PathLike[str] | None = None) -> TrainedClassifier:
    """Returns the classifier for a rendered data set; trains it when it is not stored beside the data yet.

    Args:
        config: `rendered_<R>`, a config of `tfds_megn` (which is prepared when it is not there).
        data_dir: where prepared data live; None or "" is TFDS's default. The classifier is stored in its
            folder `megn_classifier/`.

    Returns:
        The classifier, with its accuracy on the people of the test split.
    """
    root = epath.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    path = root / "megn_classifier" / f"{config}-megn{tfds_megn.Builder.VERSION}-v{VERSION}.npz"
    if path.exists():
        try:
            return _load(path.read_bytes())
        except Exception as error:  # damage can make zipfile, zlib and numpy raise nearly anything
            logging.warning("%s cannot be read (%s); training it again", path, error)
    faces = rendered.read(config, "train", data_dir)
    params = train(faces.images, faces.labels, faces.params, STEPS)
    classifier = TrainedClassifier(params, faces.images.shape[1], 0.0, 0)
    faces = rendered.read(config, "test", data_dir)
    logits, _ = classifier(pictures.to_float(faces.images))
    accuracy = float(np.mean(logits.argmax(axis=1) == faces.labels))
    classifier = dataclasses.replace(classifier, held_out_accuracy=accuracy, held_out_images=len(faces.labels))
    try:
        with writing(root, rendered.DATA_DIR_FLAG):
            _store(path, classifier)
    except OSError as error:
        print(f"the classifier is not kept for the next time: {error}", file=sys.stderr)
    return classifier


def train(images: np.ndarray, labels: np.ndarray, faces: np.ndarray, steps: int, seed: int = 0) -> Any:
    """Trains a classifier.

    Args:
        images: u8[N,R,R,3].
        labels: int[N], ids of attributes.
        faces: f32[N,P], numbers that describe the face beside the attribute; the features learn to tell them.
        steps: updates, of 64 images each.
        seed: of the initial weights, the order and the augmentation.

    Returns:
        The Linen variables of the classifier.
    """
    spread = faces.std(axis=0)
    told = (faces - faces.mean(axis=0)) / np.where(spread > 0, spread, 1.0)  # [N,P] of mean 0, variance 1
    net = Classifier()
    key = jax.random.key(seed, impl="rbg")  # compiles in a fraction of the default's time
    params = {
        "net": jax.jit(net.init)(key, jnp.zeros((1, *images.shape[1:]), jnp.float32)),
        "face": jnp.zeros((FEATURE_DIM, told.shape[1]), jnp.float32),  # linear read-out, not kept
    }
    opt_state = _OPTIMISER.init(params)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(images)) for _ in range(-(-steps * BATCH_SIZE // len(images)))])
    with tqdm.trange(steps, desc=f"Attribute classifier {images.shape[1]} px", unit="step", mininterval=0.5) as bar:
        for step in bar:
            chosen = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            params, opt_state, hits = _update(
                params,
                opt_state,
                np.float32(learning_rate(step / steps)),
                jax.random.fold_in(key, step),
                images[chosen],
                labels[chosen],
                told[chosen],
            )
            if step % 50 == 49:
                bar.set_postfix(accuracy=f"{float(hits):.2f}")
    return params["net"]


def learning_rate(progress: float) -> float:
    """Linear from 0 to LEARNING_RATE in the first fifth, then half a cosine to 0; progress in [0, 1]."""
    return LEARNING_RATE * min(progress / 0.2, 0.5 + 0.5 * math.cos(math.pi * (progress - 0.2) / 0.8))


@jax.jit
def _apply(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    return Classifier().apply(params, images)


# The learning rate is an argument of `_update`, so that one compiled step serves any number of steps.
_OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(WEIGHT_DECAY))


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _update(
    params: Any,
    opt_state: Any,
    learning_rate: jax.Array,
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    told: jax.Array,
) -> tuple[Any, Any, jax.Array]:
    """One step of training; returns the new params and optimiser state, and the share of right answers."""
    gradients, hits = jax.grad(_loss, has_aux=True)(params, key, images, labels, told)
    updates, opt_state = _OPTIMISER.update(gradients, opt_state, params)
    params = jax.tree.map(lambda old, update: old - learning_rate * update, params, updates)
    return params, opt_state, hits


def _loss(
    params: Any, key: jax.Array, images: jax.Array, labels: jax.Array, told: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of the attribute, and squared error of the face's numbers told from the features.

    The second task makes the features fit for comparing faces: with the first alone they would forget
    everything but the attribute (all masks in one point), and a generator with a single face could not be
    told from real data.
    """
    # Odd samples are mirrored: a new face to the first task, but of other numbers, so none to the second.
    mirrored = jnp.arange(len(images)) % 2 == 1
    images = jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    logits, features = Classifier().apply(params["net"], augment(key, images))
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), LABEL_SMOOTHING)
    attribute = optax.softmax_cross_entropy(logits, targets).mean()
    face = jnp.square(features @ params["face"] - told).mean(axis=1)
    face = jnp.mean(face, where=~mirrored)
    return attribute + FACE_WEIGHT * face, jnp.mean(logits.argmax(axis=-1) == labels)


def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shifts, blurs, recolours and adds noise, so that generated images and photos are no foreign land.

    Args:
        key: PRNG key.
        images: u8[N,R,R,3].

    Returns:
        f32[N,R,R,3], about in [-1, 1].
    """
    n, resolution = images.shape[:2]
    draw_key, noise_key = jax.random.split(key)
    draws = jax.random.uniform(draw_key, (n, 9, 1, 1), minval=-1.0)  # one call: it compiles sooner than nine
    x = pictures.to_float(images)

    reach = resolution // 32  # a shift by up to 1/32 of the width
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    corners = jnp.round((draws[:, :2, 0, 0] + 1.0) * reach).astype(int)  # 0 to 2 reach
    x = jax.vmap(lambda one, at: jax.lax.dynamic_slice(one, (at[0], at[1], 0), (resolution, resolution, 3)))(
        padded, corners
    )
    x = x + 0.5 * jnp.maximum(draws[:, 2:3], 0.0) * (_blur(x) - x)  # half of the images, by up to half
    offset = 0.12 * draws[:, 3:4] + 0.06 * draws[:, 4:7].transpose(0, 2, 3, 1)  # brightness and tint
    x = x * 2.0 ** (0.25 * draws[:, 7:8]) + offset  # contrast
    sigma = 0.05 * jnp.maximum(draws[:, 8:9], 0.0)
    return x + sigma * jax.random.normal(noise_key, x.shape)


def _blur(x: jax.Array) -> jax.Array:
    """[1 2 1]/4 along height and width of f32[N,R,R,C], as shifted sums."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    x = (x[:, :-2] + 2.0 * x[:, 1:-1] + x[:, 2:]) / 4.0
    return (x[:, :, :-2] + 2.0 * x[:, :, 1:-1] + x[:, :, 2:]) / 4.0


def _store(path: epath.Path, classifier: TrainedClassifier) -> None:
    """Writes a classifier as npz; whoever reads at the same time sees the whole file or none."""
    arrays = {
        f"params/{name}": np.asarray(value)
        for name, value in flax.traverse_util.flatten_dict(classifier.params, sep="/").items()
    }
    content = io.BytesIO()
    np.savez(
        content,
        resolution=classifier.resolution,
        held_out_accuracy=classifier.held_out_accuracy,
        held_out_images=classifier.held_out_images,
        **arrays,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content.getvalue())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _load(content: bytes) -> TrainedClassifier:
    """Reads what `_store` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        params = {name.removeprefix("params/"): file[name] for name in file.files if name.startswith("params/")}
        return TrainedClassifier(
            flax.traverse_util.unflatten_dict(params, sep="/"),
            int(file["resolution"]),
            float(file["held_out_accuracy"]),
            int(file["held_out_images"]),
        )
