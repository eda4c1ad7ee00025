"""Training of the attribute classifier on rendered faces, and its store beside the data."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import pictures, pretrained
from sdgan_jax.config.networks import ClassifierConfig
from sdgan_jax.data import rendered
from sdgan_jax.data.batches import map_batches
from sdgan_jax.nets.classifier import FEATURE_DIM, Classifier
from sdgan_jax.pretrained import AttributeClassifier, directories
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import checkpoint, draws, loop, sharding
from sdgan_jax.training.networks import distortion
from sdgan_jax.training.sharding import AXIS
from tfds_megn.data_dir import writing

VERSION = 2  # version of everything that shapes the weights; a stored classifier of another version is not used
_DISTORTION, _MIRROR = 0, 1  # phases of the PRNG keys
_WARM = 5  # the warm-up takes 1/_WARM of the run
_BATCH = 100
_COLUMNS = 8  # images in a row of the sheet

Network = Callable[[jax.Array], tuple[jax.Array, jax.Array]]  # images f32[N,R,R,3] to logits and features


@flax.struct.dataclass
class State:
    """Everything that a step reads and writes."""

    step: jax.Array  # i32, steps done
    variables: Tree  # the network's params
    readout: jax.Array  # f32[128,P], from features to face targets; only used in training
    opt: optax.OptState


def train(config: ClassifierConfig, workdir: epath.PathLike, score: Callable[[State], float] | None = None) -> State:
    """Trains the classifier (see `loop.run`) and writes it into the workdir (`pretrained.write`).

    Args:
        config: validated.
        workdir: local or remote directory; made when it is not there.
        score: judges the state at every checkpoint, higher is better; decides which one is kept as the best.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt, ValueError: as `loop.run`.
    """
    state = loop.run(make_run(config, score), workdir)
    if jax.process_index() == 0:
        write(workdir, make_classifier(config, state))
    return state


def make_run(config: ClassifierConfig, score: Callable[[State], float] | None = None, alone: bool = False) -> loop.Run:
    """Describes a training for `loop.run`; arguments as of `train`, and whether one process takes the whole batch."""
    faces = rendered.read(config.dataset, "train", config.data_dir)
    shown = rendered.read(config.dataset, "validation", config.data_dir).images
    apply = jax.jit(Classifier().apply)
    targets = face_targets(faces.params)
    arrays = {"image": faces.images, "label": faces.labels, "face_targets": targets}

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        return {"most_certain": sheet(functools.partial(apply, state.variables), shown)}

    return loop.Run(
        config=config,
        init=functools.partial(init, config, targets.shape[1]),
        step=functools.partial(step, config),
        batches=rendered.Batches(arrays, config.batch_size, config.seed)
        if alone
        else rendered.make_batches(config, arrays),
        put=sharding.put_rows,
        draw_sheets=draw_sheets,
        headline=("cross_entropy", "face_error", "accuracy"),
        remedy="lower --config.learning_rate",
        score=score,
    )


def face_targets(params: np.ndarray) -> np.ndarray:
    """Normalises the renderer's parameters f32[N,P] of the training faces to mean 0 and variance 1."""
    spread = params.std(axis=0)
    return (params - params.mean(axis=0)) / np.where(spread > 0, spread, np.float32(1.0))


def init(config: ClassifierConfig, num_targets: int) -> State:
    """Returns the state at step 0."""
    images = jnp.zeros((1, config.resolution, config.resolution, 3))
    variables = Classifier().init(jax.random.key(config.seed, impl="unsafe_rbg"), images)
    readout = jnp.zeros((FEATURE_DIM, num_targets))
    return State(jnp.zeros((), jnp.int32), variables, readout, optimizer(config).init((variables, readout)))


def optimizer(config: ClassifierConfig) -> optax.GradientTransformation:
    """Returns AdamW on clipped gradients: linear warm-up, then half a cosine to 0."""
    steps, peak = config.total_steps, config.learning_rate
    rate = optax.warmup_cosine_decay_schedule(0.0, peak, max(1, steps // _WARM), max(2, steps))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=config.weight_decay))


def step(config: ClassifierConfig, state: State, batch: loop.Batch) -> tuple[State, loop.Metrics]:
    """Makes one update, on one device of a mesh with the axis `data`.

    The loss is the cross-entropy of the attribute plus the squared error of the renderer's parameters, read linearly
    from the features. With the first task alone the features would lose everything but the attribute (all masks in one
    point), and a generator with a single face could not be told from real data.
    """
    images = pictures.to_float(batch["image"])  # [n,R,R,3]
    keys, mirror_keys = draws.sample_keys(config.seed, state.step, images.shape[0], (_DISTORTION, _MIRROR))
    mirrored = jax.vmap(jax.random.bernoulli)(mirror_keys)  # [n]
    images = jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    images = jax.vmap(functools.partial(distort, config))(keys, images)

    def loss(learned: tuple) -> tuple[jax.Array, tuple]:
        variables, readout = learned
        logits, features = Classifier().apply(variables, images)
        targets = optax.smooth_labels(jax.nn.one_hot(batch["label"], logits.shape[-1]), config.label_smoothing)
        attribute = optax.softmax_cross_entropy(logits, targets).mean()
        # A mirrored face has other parameters, which are unknown: it counts for the attribute only.
        face = jnp.square(features @ readout - batch["face_targets"]).mean(axis=1)
        face = 2.0 * jnp.where(mirrored, 0.0, face).mean()
        hits = jnp.mean(logits.argmax(axis=-1) == batch["label"])
        return attribute + config.face_weight * face, (attribute, face, hits)

    learned = (state.variables, state.readout)
    gradient, values = jax.grad(loss, has_aux=True)(learned)
    gradient, values = jax.lax.pmean((gradient, values), AXIS)
    change, opt = optimizer(config).update(gradient, state.opt, learned)
    variables, readout = optax.apply_updates(learned, change)
    names = ("cross_entropy", "face_error", "accuracy")
    metrics = {name: jnp.stack((value, jnp.ones(()))) for name, value in zip(names, values, strict=True)}
    return State(state.step + 1, variables, readout, opt), metrics


def distort(config: ClassifierConfig, key: jax.Array, image: jax.Array) -> jax.Array:
    """Shifts and recolours f32[R,R,3] in [-1,1], so that the classifier accepts generated images and photos."""
    shift_key, colour_key = jax.random.split(key)
    image = distortion.shift_pixels(shift_key, image, round(config.shift * image.shape[0]))
    return distortion.recolour(colour_key, image, config.colour)


def classify(network: Network, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes logits f32[N,6] and features f32[N,128] of images f32[N,R,R,3] in [-1,1], in batches."""
    return map_batches(lambda some: jax.device_get(network(some)), images, size=_BATCH)


def accuracy(network: Network, faces: rendered.Faces) -> float:
    """Returns the share of the faces whose attribute the network recognises."""
    logits, _ = classify(network, pictures.to_float(faces.images))
    return float(np.mean(logits.argmax(axis=1) == faces.labels))


def make_classifier(config: ClassifierConfig, state: State) -> AttributeClassifier:
    """Makes the network of a trained state and measures its accuracy on the held-out persons of the test split."""
    variables, faces = jax.device_get(state.variables), rendered.read(config.dataset, "test", config.data_dir)
    held_out_accuracy = accuracy(functools.partial(jax.jit(Classifier().apply), variables), faces)
    return AttributeClassifier(Classifier(), variables, config.resolution, held_out_accuracy, len(faces.labels))


def write(path: epath.PathLike, classifier: AttributeClassifier) -> None:
    """Writes a network directory."""
    names = ("resolution", "held_out_accuracy", "held_out_images")
    settings = {name: getattr(classifier, name) for name in names} | {"version": VERSION}
    pretrained.write(path, "classifier", settings, classifier.variables)


def sheet(network: Network, images: np.ndarray) -> np.ndarray:
    """Draws a row for each attribute: the images u8[N,R,R,3] with the greatest probability of it, u8[H,W,3]."""
    logits, _ = classify(network, pictures.to_float(images))
    order = np.argsort(-np.asarray(jax.nn.log_softmax(logits)), axis=0, kind="stable")[:_COLUMNS].T  # [6,columns]
    shown = images[order.reshape(-1)]
    return pictures.grid(shown, order.shape[1], row_labels=list(tfds_megn.ATTRIBUTES))


def load_or_train(dataset: str, data_dir: str | os.PathLike[str] | None = None) -> AttributeClassifier:
    """Returns the classifier for a rendered data set; trains it when it is not stored beside the data yet.

    It is stored in the workdir `megn_classifier/<dataset>-megn<version>-v<version>/`, where a training that was
    interrupted is resumed. Where that folder cannot be trained in, the classifier is trained in memory.

    Args:
        dataset: `rendered_<R>`, a config of `tfds_megn` (which is prepared when it is not there).
        data_dir: folder of prepared data; None or "" is TFDS's default.

    Returns:
        The classifier, with its accuracy on the persons of the test split.

    Raises:
        KeyboardInterrupt, FloatingPointError: as `loop.run`.
    """
    root = epath.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    folder = root / "megn_classifier" / f"{dataset}-megn{tfds_megn.Builder.VERSION}-v{VERSION}"
    if (folder / directories.NETWORK).exists():
        try:
            return pretrained.attribute_classifier(folder)
        except (ValueError, OSError) as error:
            logging.warning("%s; training it again", error)
    size = rendered.read(dataset, "test", data_dir).images.shape[1]
    config = ClassifierConfig(dataset=f"megn/{dataset}", resolution=size, data_dir=str(data_dir or ""))
    try:
        with writing(root, rendered.DATA_DIR_FLAG):
            if jax.process_count() == 1:
                return _train_in_folder(config, folder)
            classifier = make_classifier(config, train_in_memory(config))
            write(folder, classifier)
            return classifier
    except (OSError, ValueError, RuntimeError) as error:  # no space, read-only, in use by another run, damaged
        print(f"the classifier is not kept for the next time: {error}", file=sys.stderr)
    return make_classifier(config, train_in_memory(config))


def _train_in_folder(config: ClassifierConfig, folder: epath.Path) -> AttributeClassifier:
    """Trains in a workdir, from its newest checkpoint on; one whose checkpoints are all damaged is begun anew."""
    print(f"Training the attribute classifier in {folder}", file=sys.stderr)
    try:
        train(config, folder)
    except checkpoint.DamagedError as error:
        print(f"{error}; training the classifier from the first step", file=sys.stderr)
        (folder / directories.CHECKPOINTS).rmtree()
        train(config, folder)
    return pretrained.attribute_classifier(folder)


def train_in_memory(config: ClassifierConfig) -> State:
    """Trains on one device of this process and writes nothing; for one process of several and for read-only folders."""
    run = make_run(config, alone=True)
    mesh = sharding.make_mesh(config.batch_size, jax.local_devices()[:1])
    state = jax.jit(run.init, out_shardings=sharding.replicated(mesh))()
    update = sharding.map_step(run.step, mesh)
    for _ in tqdm.trange(config.total_steps, desc="Attribute classifier", unit="step", mininterval=0.5):
        state, _ = update(state, run.put(next(run.batches), mesh))
    return state
