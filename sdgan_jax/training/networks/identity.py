"""Training of the identity network on rendered persons by ArcFace's loss."""

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
from sdgan_jax.data.batches import map_batches
from sdgan_jax.data.rendered import Faces
from sdgan_jax.nets.arcface import ArcFace
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import draws, loop, sharding
from sdgan_jax.training.networks import distortion, muon
from sdgan_jax.training.sharding import AXIS

_DISTORTION = 0  # phase of the PRNG keys
_BATCH = 200
_SEARCHED = 1200  # validation faces among which the nearest ones are shown
_SHOWN, _NEAREST = 6, 5  # rows of the sheet, and faces beside each


@flax.struct.dataclass
class State:
    """Everything that a step reads and writes."""

    step: jax.Array  # i32, steps done
    variables: Tree  # the network's params and batch_stats
    prototypes: jax.Array  # f32[persons,E], one for each person in the training data
    opt: optax.OptState


def train(config: IdentityConfig, workdir: epath.PathLike, score: Callable[[State], float] | None = None) -> State:
    """Trains the identity network (see `loop.run`) and writes it into the workdir (`pretrained.write`).

    Args:
        config: validated.
        workdir: local or remote directory; made when it is not there.
        score: judges the state at every checkpoint, higher is better; decides which one is kept as the best.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt, ValueError: as `loop.run`.
    """
    faces = rendered.read(config.dataset, "train", config.data_dir)
    persons, classes = np.unique(faces.identities, return_inverse=True)
    searched = rendered.read(config.dataset, "validation", config.data_dir).first(_SEARCHED)
    net = network(config)
    apply = jax.jit(net.apply)

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        return {"nearest": nearest_sheet(functools.partial(apply, state.variables), searched)}

    what = loop.Run(
        config=config,
        init=functools.partial(init, config, net, len(persons)),
        step=functools.partial(step, config, net),
        batches=rendered.make_batches(config, {"image": faces.images, "person": classes.astype(np.int32)}),
        put=sharding.put_rows,
        draw_sheets=draw_sheets,
        headline=("arcface", "cosine"),
        remedy="lower --config.learning_rate",
        score=score,
        falls=True,
    )
    state = loop.run(what, workdir)
    if jax.process_index() == 0:
        pretrained.write(workdir, "identity", settings(config), jax.device_get(state.variables), np.float16)
    return state


def network(config: IdentityConfig) -> ArcFace:
    """Makes the network of a config, without parameters."""
    return ArcFace(tuple(config.blocks), tuple(config.widths), config.embedding_dim)


def settings(config: IdentityConfig) -> dict:
    """Returns the settings in `network.json` of a network that is trained here."""
    read = {name: getattr(config, name) for name in ("resolution", "blocks", "widths", "embedding_dim")}
    return read | {"crop": None}  # it sees the whole picture


def init(config: IdentityConfig, net: ArcFace, persons: int) -> State:
    """Returns the state at step 0."""
    key_net, key_prototypes = jax.random.split(jax.random.key(config.seed, impl="unsafe_rbg"))
    variables = net.init(key_net, jnp.zeros((1, config.resolution, config.resolution, 3)))
    prototypes = jax.random.normal(key_prototypes, (persons, config.embedding_dim)) * config.embedding_dim**-0.5
    opt = optimizer(config).init((variables["params"], prototypes))
    return State(jnp.zeros((), jnp.int32), variables, prototypes, opt)


def optimizer(config: IdentityConfig) -> optax.GradientTransformation:
    """Returns `muon.optimizer` at the config's learning rate."""
    return muon.optimizer(config.learning_rate, config.total_steps, config.weight_decay)


def step(config: IdentityConfig, net: ArcFace, state: State, batch: loop.Batch) -> tuple[State, loop.Metrics]:
    """Makes one update, on one device of a mesh with the axis `data`."""
    images = pictures.to_float(batch["image"])  # [n,R,R,3]
    (keys,) = draws.sample_keys(config.seed, state.step, images.shape[0], (_DISTORTION,))
    distort = jax.vmap(lambda key, image, other: _distort(config, key, image, other))
    images = distort(keys, images, jnp.roll(images, 1, 0))

    def loss(learned: tuple) -> tuple[jax.Array, tuple]:
        params, prototypes = learned
        variables = {"params": params, "batch_stats": state.variables["batch_stats"]}
        embeddings, changed = net.apply(variables, images, train=True, mutable=["batch_stats"])
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
    """Distorts f32[R,R,3] in [-1,1] as for PRNet, without mirroring: a parting of the hair belongs to the person."""
    keys = jax.random.split(key, 3)
    image, _ = distortion.move(keys[0], image, jnp.zeros((1, 1, 3)), config)
    return distortion.hide(keys[2], distortion.recolour(keys[1], image, config.colour), other, config.occlusion)


def embed(network: Callable[[jax.Array], jax.Array], images: np.ndarray) -> np.ndarray:
    """Computes embeddings f32[N,E] of images u8[N,R,R,3] by a network of f32[N,R,R,3] in [-1,1], in batches."""
    return map_batches(lambda some: np.asarray(network(pictures.to_float(some))), images, size=_BATCH)


def nearest(embeddings: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Returns the first photograph of each of a few persons and the photographs nearest to it.

    Args:
        embeddings: f32[N,E], unit vectors.
        identities: i32[N], numbers of the persons.

    Returns:
        int[K,6], rows of the embeddings: the photograph itself, then the five nearest, K up to 6.
    """
    _, first = np.unique(identities, return_index=True)
    first = first[:_SHOWN]
    cosines = embeddings[first] @ embeddings.T
    cosines[np.arange(len(first)), first] = np.inf  # itself, also where another one looks the same
    return np.argsort(-cosines, axis=1, kind="stable")[:, : 1 + _NEAREST]


def nearest_sheet(network: Callable[[jax.Array], jax.Array], faces: Faces) -> np.ndarray:
    """Draws a row for each of a few persons: a photograph and the five photographs nearest to it, u8[H,W,3]."""
    rows = nearest(embed(network, faces.images), faces.identities)
    labels = ("photo", *(f"no. {i + 1}" for i in range(rows.shape[1] - 1)))
    return pictures.grid(faces.images[rows.reshape(-1)], rows.shape[1], column_labels=labels)
