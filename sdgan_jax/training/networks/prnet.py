"""Trains PRNet on rendered faces: weighted squared error over the UV square, on distorted pictures with known maps.

The stages that correct what the network says are fitted when it is trained (`training.networks.descent`).
"""

from __future__ import annotations

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from sdgan_jax import pretrained
from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.data import rendered
from sdgan_jax.face3d import drawing, geometry, layout
from sdgan_jax.metrics import landmarks as landmark_metrics
from sdgan_jax.nets.prnet import SCALE, ResFCN
from sdgan_jax.training import draws, loop, sharding
from sdgan_jax.training.networks import descent, distortion, muon
from sdgan_jax.training.sharding import AXIS

DEPTH_OFFSET = 0.5  # of the network's output: depths have both signs, a sigmoid has not
_DISTORTION = 0  # phase of the random numbers
_JUDGED = 600  # validation faces that score a checkpoint
_AT_ONCE = 100
_SHOWN = 12


@flax.struct.dataclass
class State:
    """All that a step reads and writes."""

    step: jax.Array  # i32, steps done
    variables: dict  # the network's params and batch_stats
    opt: optax.OptState


def train(config: PRNetConfig, workdir: epath.PathLike) -> State:
    """Trains by `loop.run`, which see; ends by writing the network into the workdir (`pretrained.write`).

    Args:
        config: validated.
        workdir: local or remote directory; made when it is not there.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt, ValueError: as `loop.run`, and `descent.check`.
    """
    faces = rendered.read(config.dataset, "train", config.data_dir)
    descent.check(config, len(faces.images))
    maps = rendered.position_maps(faces.params, config.resolution)
    judged = rendered.read(config.dataset, "validation", config.data_dir).first(_JUDGED)
    pictures, truth = judged.images, rendered.position_maps(judged.params, config.resolution)
    net = ResFCN(config.resolution, config.channels)
    predict = jax.jit(functools.partial(predict_pixels, net))
    arrays = {"image": faces.images, "position_map": maps}
    process = (jax.process_index(), jax.process_count())

    def draw(state: State) -> dict[str, np.ndarray]:
        predicted = np.asarray(predict(state.variables, pictures[:_SHOWN]))
        return {"position_map": drawing.sheet(pictures[:_SHOWN], predicted, layout.megn(config.resolution))}

    def score(state: State) -> float:
        parts = [pictures[first : first + _AT_ONCE] for first in range(0, len(pictures), _AT_ONCE)]
        predicted = np.concatenate([predict(state.variables, part) for part in parts])
        return -float(landmark_error(predicted, truth).mean())

    what = loop.Run(
        config=config,
        init=functools.partial(init, config, net),
        step=functools.partial(step, config, net),
        batches=rendered.Batches(arrays, config.batch_size, config.seed, process),
        put=sharding.put_rows,
        draw_sheets=draw,
        headline=("position_map", "pixels"),
        remedy="lower --config.learning_rate",
        score=score,
    )
    state = loop.run(what, workdir)
    if jax.process_index() == 0:
        coarse = pretrained.PositionNetwork(net, jax.device_get(state.variables), "megn", DEPTH_OFFSET)
        network = descent.fit(config, coarse, faces.images, maps)
        pretrained.write(workdir, "prnet", settings(config), network.variables, np.float16)
    return state


def settings(config: PRNetConfig) -> dict:
    """What `network.json` says of a network trained here."""
    return {
        "size": config.resolution,
        "channels": config.channels,
        "layout": "megn",
        "depth_offset": DEPTH_OFFSET,
        "stages": [config.components] * config.stages,
    }


def init(config: PRNetConfig, net: ResFCN) -> State:
    """The state at step 0."""
    images = jnp.zeros((1, config.resolution, config.resolution, 3))
    variables = net.init(jax.random.key(config.seed, impl="unsafe_rbg"), images)
    return State(jnp.zeros((), jnp.int32), variables, optimizer(config).init(variables["params"]))


def optimizer(config: PRNetConfig) -> optax.GradientTransformation:
    """`muon.optimizer` at the config's rate."""
    return muon.optimizer(config.learning_rate, config.total_steps)


def step(config: PRNetConfig, net: ResFCN, state: State, batch: loop.Batch) -> tuple[State, loop.Metrics]:
    """One update, on one device of a mesh with the axis `data`."""
    images = batch["image"].astype(jnp.float32) / 255.0  # [n,R,R,3]
    (keys,) = draws.sample_keys(config.seed, state.step, images.shape[0], (_DISTORTION,))
    images, maps = jax.vmap(functools.partial(distortion.distort, config=config))(
        keys, images, batch["position_map"], jnp.roll(images, 1, 0)
    )
    target = to_output(maps, config.resolution)
    weights = layout.megn(config.resolution).weights

    train = state.step < round((1 - config.settle) * config.total_steps)

    def loss(params: dict) -> tuple[jax.Array, tuple]:
        variables = state.variables | {"params": params}
        output, changed = net.apply(variables, images, train, mutable=["batch_stats"])
        return position_map_loss(output, target, weights), (changed["batch_stats"], output)

    (error, (stats, output)), gradient = jax.value_and_grad(loss, has_aux=True)(state.variables["params"])
    off = SCALE * config.resolution * jnp.abs(output - target)[..., :2].mean((0, 3))  # [S,S]
    pixels = (off * weights).sum() / weights.sum()
    gradient, stats, error, pixels = jax.lax.pmean((gradient, stats, error, pixels), AXIS)
    change, opt = optimizer(config).update(gradient, state.opt, state.variables["params"])
    params = optax.apply_updates(state.variables["params"], change)
    metrics = {name: jnp.stack((v, jnp.ones(()))) for name, v in {"position_map": error, "pixels": pixels}.items()}
    return State(state.step + 1, {"params": params, "batch_stats": stats}, opt), metrics


def position_map_loss(output: jax.Array, target: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted mean squared error over the UV square (Feng et al. 2018, equation 2), times 1000.

    Args:
        output: f32[N,S,S,3] in [0,1].
        target: f32[N,S,S,3]; what lies outside of [0,1], where the network cannot point, does not count.
        weights: f32[S,S].

    Returns:
        f32 scalar.
    """
    reachable = ((target > 0.0) & (target < 1.0)).all(-1)  # [N,S,S]
    square = jnp.square(output - target).sum(-1)
    return 1000.0 * jnp.sum(square * weights * reachable) / (jnp.sum(weights) * output.shape[0])


def to_output(maps: jax.Array, size: int) -> jax.Array:
    """Position maps in pixels to what the network should put out."""
    return maps / (SCALE * size) + jnp.array([0.0, 0.0, DEPTH_OFFSET])


def predict_pixels(net: ResFCN, variables: dict, images: jax.Array) -> jax.Array:
    """Pictures u8[N,S,S,3] to position maps f32[N,S,S,3] in their pixels."""
    output = net.apply(variables, images.astype(jnp.float32) / 255.0)
    return (output - jnp.array([0.0, 0.0, DEPTH_OFFSET])) * (SCALE * net.size)


def landmark_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Normalised mean error of the 68 landmarks of each face, f32[N] in per cent; both maps f32[N,S,S,3]."""
    at = jax.vmap(functools.partial(geometry.landmarks, layout=layout.megn(true.shape[1])))
    ours, theirs = (np.asarray(at(maps)) for maps in (predicted, true))
    return landmark_metrics.normalised_mean_error(ours[..., :2], theirs[..., :2], theirs)
