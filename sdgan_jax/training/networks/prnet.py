"""Training of PRNet on rendered faces: weighted squared error over the UV square, on augmented images with known maps.

After the last step the stages that correct the network's maps are fitted (`training.networks.descent`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from sdgan_jax import pictures, pretrained
from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.data import rendered
from sdgan_jax.face3d import drawing, layout
from sdgan_jax.nets.prnet import SCALE, ResFCN, to_input
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import draws, loop, sharding
from sdgan_jax.training.networks import descent, distortion, muon
from sdgan_jax.training.sharding import AXIS

DEPTH_OFFSET = 0.5  # output of the network for depth 0: depths have both signs, a sigmoid has not
_DISTORTION = 0  # phase of the PRNG keys
_SHOWN = 12  # validation faces on the sheet


@flax.struct.dataclass
class State:
    """Everything that a step reads and writes."""

    step: jax.Array  # i32, steps done
    variables: Tree  # the network's params and batch_stats
    opt: optax.OptState


def train(config: PRNetConfig, workdir: epath.PathLike, score: Callable[[State], float] | None = None) -> State:
    """Trains PRNet (see `loop.run`), fits its stages, and writes the network into the workdir (`pretrained.write`).

    Args:
        config: validated.
        workdir: local or remote directory; made when it is not there.
        score: judges the state at every checkpoint, higher is better; decides which one is kept as the best.

    Returns:
        The state after `config.total_steps`.

    Raises:
        FloatingPointError, KeyboardInterrupt, ValueError: as `loop.run`, and `descent.check`.
    """
    faces = rendered.read(config.dataset, "train", config.data_dir)
    descent.check(config, len(faces.images))
    maps = rendered.position_maps(faces.params, config.resolution)
    shown = rendered.read(config.dataset, "validation", config.data_dir).first(_SHOWN).images
    net = ResFCN(config.resolution, config.channels)
    predict_shown = jax.jit(functools.partial(predict, net, images=jnp.asarray(pictures.to_float(shown))))

    def draw_sheets(state: State) -> dict[str, np.ndarray]:
        predicted = np.asarray(predict_shown(state.variables))
        return {"position_map": drawing.sheet(shown, predicted, layout.megn(config.resolution))}

    what = loop.Run(
        config=config,
        init=functools.partial(init, config, net),
        step=functools.partial(step, config, net),
        batches=rendered.make_batches(config, {"image": faces.images, "position_map": maps}),
        put=sharding.put_rows,
        draw_sheets=draw_sheets,
        headline=("position_map", "pixels"),
        remedy="lower --config.learning_rate",
        score=score,
        falls=True,
    )
    if config.total_steps:
        state = loop.run(what, workdir)
    else:
        state = State(jnp.zeros((), jnp.int32), start(config).alone.variables, optax.EmptyState())
    if jax.process_index() == 0:
        trained = pretrained.PositionNetwork(net, jax.device_get(state.variables), "megn", DEPTH_OFFSET)
        coarse = trained if config.total_steps else start(config)
        coarse = dataclasses.replace(coarse, threshold=config.threshold)
        network = descent.fit(config, coarse, faces.images, maps)
        pretrained.write(workdir, "prnet", settings(network), network.variables, np.float16)
    return state


def settings(network: pretrained.PositionNetwork) -> dict:
    """Returns the settings in `network.json` of a network that is trained here."""
    return {
        "size": network.net.size,
        "channels": network.net.channels,
        "layout": network.layout,
        "depth_offset": network.depth_offset,
        "threshold": network.threshold,
        "stages": [len(stage.basis) for stage in network.stages],
    }


def init(config: PRNetConfig, net: ResFCN) -> State:
    """Returns the state at step 0."""
    if config.init:
        variables = start(config).alone.variables
    else:
        images = jnp.zeros((1, config.resolution, config.resolution, 3))
        variables = net.init(jax.random.key(config.seed, impl="unsafe_rbg"), images)
    return State(jnp.zeros((), jnp.int32), variables, optimizer(config).init(variables["params"]))


def start(config: PRNetConfig) -> pretrained.PositionNetwork:
    """Reads the network that the run starts from.

    Raises:
        FileNotFoundError, ValueError: there is no network in `config.init`, or it has another size or layout.
    """
    given = pretrained.prnet_network(config.init)
    if (given.net, given.layout) != (ResFCN(config.resolution, config.channels), "megn"):
        raise ValueError(
            f"config.init is {config.init!r}, a network of {given.net.size} pixels and {given.net.channels} channels "
            f"in the layout {given.layout}; the run needs {config.resolution}, {config.channels} and megn"
        )
    return given


def optimizer(config: PRNetConfig) -> optax.GradientTransformation:
    """Returns `muon.optimizer` at the config's learning rate."""
    return muon.optimizer(config.learning_rate, config.total_steps)


def step(config: PRNetConfig, net: ResFCN, state: State, batch: loop.Batch) -> tuple[State, loop.Metrics]:
    """Makes one update, on one device of a mesh with the axis `data`."""
    images = pictures.to_float(batch["image"])  # [n,R,R,3]
    (keys,) = draws.sample_keys(config.seed, state.step, images.shape[0], (_DISTORTION,))
    images, maps = jax.vmap(functools.partial(distortion.distort, config=config))(
        keys, images, batch["position_map"], jnp.roll(images, 1, 0)
    )
    target = to_output(maps, config.resolution)
    weights = jnp.asarray(layout.megn(config.resolution).weights)

    train = state.step < round((1 - config.settle) * config.total_steps)

    def loss(params: Tree) -> tuple[jax.Array, tuple]:
        variables = state.variables | {"params": params}
        output, changed = net.apply(variables, to_input(images), train, mutable=["batch_stats"])
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
    """Computes the weighted mean squared error over the UV square (Feng et al. 2018, equation 2), times 1000.

    Args:
        output: f32[N,S,S,3] in [0,1].
        target: f32[N,S,S,3]; places outside of [0,1], which the network cannot reach, do not count.
        weights: f32[S,S], weight of each texel.

    Returns:
        f32 scalar.
    """
    reachable = ((target > 0.0) & (target < 1.0)).all(-1)  # [N,S,S]
    square = jnp.square(output - target).sum(-1)
    return 1000.0 * jnp.sum(square * weights * reachable) / (jnp.sum(weights) * output.shape[0])


def to_output(maps: jax.Array, size: int) -> jax.Array:
    """Converts position maps in pixels to outputs of the network."""
    return maps / (SCALE * size) + jnp.array([0.0, 0.0, DEPTH_OFFSET])


def predict(net: ResFCN, variables: Tree, images: jax.Array) -> jax.Array:
    """Predicts position maps f32[N,S,S,3], in pixels of the images f32[N,R,R,3] in [-1,1]."""
    return pretrained.PositionNetwork(net, variables, "megn", DEPTH_OFFSET)(images)
