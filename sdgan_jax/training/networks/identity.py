"""Trains the identity network on rendered persons by ArcFace's loss, and verifies it on persons it never saw."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from sdgan_jax import losses, pictures, pretrained
from sdgan_jax.config.networks import IdentityConfig
from sdgan_jax.data import rendered
from sdgan_jax.data.rendered import Faces, Pairs
from sdgan_jax.metrics import verification as metric
from sdgan_jax.nets.arcface import ArcFace
from sdgan_jax.training import draws, loop, sharding
from sdgan_jax.training.networks import distortion, muon
from sdgan_jax.training.sharding import AXIS

SAME, DIFFERENT = 2000, 20_000  # pairs to verify
FAR = 1e-3  # false accept rate at which the true accept rate is told
_DISTORTION, _DROPOUT = 0, 1  # phases of the random numbers
_JUDGED = 1200  # validation faces that score a checkpoint
_AT_ONCE = 200
_SHOWN = 6  # persons on the sheet

Table = dict[str, dict[str, float]]  # rows of columns


@flax.struct.dataclass
class State:
    """All that a step reads and writes."""

    step: jax.Array  # i32, steps done
    variables: dict  # the network's params and batch_stats
    prototypes: jax.Array  # f32[persons,E], one for each person to train on
    opt: optax.OptState


def train(config: IdentityConfig, workdir: epath.PathLike) -> State:
    """Trains by `loop.run`, which see; ends by writing the network into the workdir (`pretrained.write`).

    Args:
        config: validated.
        workdir: local or remote directory; made when it is not there.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt, ValueError: as `loop.run`.
    """
    faces = rendered.read(config.dataset, "train", config.data_dir)
    persons, classes = np.unique(faces.identities, return_inverse=True)
    judged = rendered.read(config.dataset, "validation", config.data_dir).first(_JUDGED)
    plain, pairs = rendered.bare(judged), rendered.draw_pairs(judged, SAME, DIFFERENT)
    net = network(config)
    apply = jax.jit(net.apply)
    arrays = {"image": faces.images, "person": classes.astype(np.int32)}

    def score(state: State) -> float:
        table = verify(functools.partial(apply, state.variables), plain, judged.images, pairs)
        return table["one wears something"]["accuracy"]

    def draw(state: State) -> dict[str, np.ndarray]:
        return {"nearest": nearest_sheet(functools.partial(apply, state.variables), judged)}

    what = loop.Run(
        config=config,
        init=functools.partial(init, config, net, len(persons)),
        step=functools.partial(step, config, net),
        batches=rendered.Batches(arrays, config.batch_size, config.seed, (jax.process_index(), jax.process_count())),
        put=sharding.put_rows,
        draw_sheets=draw,
        headline=("arcface", "cosine"),
        remedy="lower --config.learning_rate",
        score=score,
    )
    state = loop.run(what, workdir)
    if jax.process_index() == 0:
        pretrained.write(workdir, "identity", settings(config), jax.device_get(state.variables), np.float16)
    return state


def network(config: IdentityConfig) -> ArcFace:
    """The network of a config; no parameters yet."""
    return ArcFace(tuple(config.blocks), tuple(config.widths), config.embedding_dim, config.dropout)


def settings(config: IdentityConfig) -> dict:
    """What `network.json` says of a network trained here."""
    read = {name: getattr(config, name) for name in ("resolution", "blocks", "widths", "embedding_dim")}
    return read | {"crop": None}  # it sees the whole picture


def init(config: IdentityConfig, net: ArcFace, persons: int) -> State:
    """The state at step 0."""
    key_net, key_prototypes = jax.random.split(jax.random.key(config.seed, impl="unsafe_rbg"))
    variables = net.init(key_net, jnp.zeros((1, config.resolution, config.resolution, 3)))
    prototypes = jax.random.normal(key_prototypes, (persons, config.embedding_dim)) * config.embedding_dim**-0.5
    opt = optimizer(config).init((variables["params"], prototypes))
    return State(jnp.zeros((), jnp.int32), variables, prototypes, opt)


def optimizer(config: IdentityConfig) -> optax.GradientTransformation:
    """`muon.optimizer` at the config's rate."""
    return muon.optimizer(config.learning_rate, config.total_steps, config.weight_decay)


def step(config: IdentityConfig, net: ArcFace, state: State, batch: loop.Batch) -> tuple[State, loop.Metrics]:
    """One update, on one device of a mesh with the axis `data`."""
    images = batch["image"].astype(jnp.float32) / 255.0  # [n,R,R,3]
    keys, dropout_keys = draws.sample_keys(config.seed, state.step, images.shape[0], (_DISTORTION, _DROPOUT))
    distort = jax.vmap(lambda key, image, other: _distort(config, key, image, other))
    images = 2.0 * distort(keys, images, jnp.roll(images, 1, 0)) - 1.0

    def loss(learned: tuple) -> tuple[jax.Array, tuple]:
        params, prototypes = learned
        variables = {"params": params, "batch_stats": state.variables["batch_stats"]}
        embeddings, changed = net.apply(
            variables, images, train=True, rngs={"dropout": dropout_keys[0]}, mutable=["batch_stats"]
        )
        value = losses.arcface(embeddings, prototypes, batch["person"], config.margin, config.logit_scale)
        return value, (changed["batch_stats"], -losses.identity(embeddings, prototypes[batch["person"]]))

    learned = (state.variables["params"], state.prototypes)
    (value, (stats, cosine)), gradient = jax.value_and_grad(loss, has_aux=True)(learned)
    gradient, stats, value, cosine = jax.lax.pmean((gradient, stats, value, cosine), AXIS)
    change, opt = optimizer(config).update(gradient, state.opt, learned)
    params, prototypes = optax.apply_updates(learned, change)
    metrics = {name: jnp.stack((v, jnp.ones(()))) for name, v in {"arcface": value, "cosine": cosine}.items()}
    return State(state.step + 1, {"params": params, "batch_stats": stats}, prototypes, opt), metrics


def _distort(config: IdentityConfig, key: jax.Array, image: jax.Array, other: jax.Array) -> jax.Array:
    """PRNet's distortions of f32[R,R,3] in [0,1], but for the mirror: hair may be parted."""
    keys = jax.random.split(key, 3)
    image, _ = distortion.move(keys[0], image, jnp.zeros((1, 1, 3)), config)
    return distortion.hide(keys[2], distortion.recolour(keys[1], image, config.colour), other, config.occlusion)


def embed(network: Callable[[jax.Array], jax.Array], images: np.ndarray) -> np.ndarray:
    """Embeddings f32[N,E] of pictures u8[N,R,R,3], computed in batches of one size."""
    found = []
    for first in range(0, len(images), _AT_ONCE):
        some = images[first : first + _AT_ONCE]
        padding = [(0, _AT_ONCE - len(some))] + [(0, 0)] * 3
        found.append(np.asarray(network(pictures.to_float(np.pad(some, padding))))[: len(some)])
    return np.concatenate(found)


def verify(
    network: Callable[[jax.Array], jax.Array], plain: np.ndarray, stored: np.ndarray, pairs: Pairs, far: float = FAR
) -> Table:
    """Tells one person's pairs of photographs from those of two people, with and without something worn.

    Args:
        network: images f32[N,R,R,3] in [-1,1] to unit vectors f32[N,E].
        plain: u8[N,R,R,3], the photographs with nothing worn.
        stored: u8[N,R,R,3], the same as they are; the second of each pair wears something.
        pairs: of these.
        far: false accept rate.

    Returns:
        For pairs of which neither, the second, and both (the first only where it is so stored) wear something:
        `accuracy` (`metrics.verification`, of as many pairs of two people as there are of one), `tar_at_far`, and the
        numbers of pairs that they rest on.
    """
    embeddings = {"plain": embed(network, plain), "stored": embed(network, stored)}
    columns = {
        "neither wears anything": ("plain", "plain"),
        "one wears something": ("plain", "stored"),
        "as stored": ("stored", "stored"),
    }
    count = int(pairs.same.sum())
    even = pairs.same | (np.cumsum(~pairs.same) <= count)
    table: Table = {}
    for name, (first, second) in columns.items():
        cosines = (embeddings[first][pairs.first] * embeddings[second][pairs.second]).sum(1)
        table[name] = {
            "accuracy": metric.verification(cosines[even], pairs.same[even]),
            "tar_at_far": metric.tar_at_far(cosines, pairs.same, far),
            "same": count,
            "different": len(pairs.same) - count,
        }
    return table


def nearest_sheet(network: Callable[[jax.Array], jax.Array], faces: Faces) -> np.ndarray:
    """A row for each of a few persons: a photograph, and the five of all that are nearest to it."""
    embeddings = embed(network, faces.images)
    _, shown = np.unique(faces.identities, return_index=True)
    order = np.argsort(-(embeddings[shown[:_SHOWN]] @ embeddings.T), axis=1)[:, :6]  # the first is itself
    return pictures.grid(
        faces.images[order.reshape(-1)], 6, column_labels=("photo", *(f"no. {i + 1}" for i in range(5)))
    )
