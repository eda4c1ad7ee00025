"""Training of the attribute classifier on rendered faces."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

import tfds_megn
from sdgan_jax import pictures, pretrained
from sdgan_jax.config.networks import ClassifierConfig
from sdgan_jax.data import rendered
from sdgan_jax.data.batches import map_batches
from sdgan_jax.nets.classifier import FEATURE_DIM, Classifier
from sdgan_jax.pretrained import AttributeClassifier
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import draws, loop, sharding
from sdgan_jax.training.networks import distortion, muon
from sdgan_jax.training.sharding import AXIS

_DISTORTION, _MIRROR = 0, 1  # phases of the PRNG keys
_BATCH = 100
_COLUMNS = 8  # images in a row of the sheet
_SHOWN = 600  # validation faces that the sheet is chosen from

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


def make_run(config: ClassifierConfig, score: Callable[[State], float] | None = None) -> loop.Run:
    """Describes a training for `loop.run`; arguments as of `train`."""
    faces = rendered.read(config.dataset, "train", config.data_dir)
    shown = rendered.read(config.dataset, "validation", config.data_dir).first(_SHOWN).images
    apply = jax.jit(Classifier().apply)
    targets = face_targets(faces.params)
    arrays = {"image": faces.images, "label": faces.labels, "face_targets": targets}

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        return {"most_certain": sheet(functools.partial(apply, state.variables), shown)}

    return loop.Run(
        config=config,
        init=functools.partial(init, config, targets.shape[1]),
        step=functools.partial(step, config),
        batches=rendered.make_batches(config, arrays),
        put=sharding.put_rows,
        draw_sheets=draw_sheets,
        headline=("cross_entropy", "face_error", "accuracy"),
        remedy="lower --config.learning_rate",
        score=score,
        falls=True,
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
    """Returns `muon.optimizer`."""
    return muon.optimizer(config.learning_rate, config.total_steps, config.weight_decay)


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
    settings = {name: getattr(classifier, name) for name in names}
    pretrained.write(path, "classifier", settings, classifier.variables)


def sheet(network: Network, images: np.ndarray) -> np.ndarray:
    """Draws a row for each attribute: the images u8[N,R,R,3] with the greatest probability of it, u8[H,W,3]."""
    logits, _ = classify(network, pictures.to_float(images))
    order = np.argsort(-np.asarray(jax.nn.log_softmax(logits)), axis=0, kind="stable")[:_COLUMNS].T  # [6,columns]
    shown = images[order.reshape(-1)]
    return pictures.grid(shown, order.shape[1], row_labels=list(tfds_megn.ATTRIBUTES))
