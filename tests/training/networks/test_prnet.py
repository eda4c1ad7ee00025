"""PRNet's training: the loss in closed form, a step that is the same on any number of devices, and that it learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import tfds_megn
from sdgan_jax import pretrained
from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import networks
from sdgan_jax.nets.prnet import ResFCN
from sdgan_jax.training import sharding
from sdgan_jax.training.networks import prnet

CONFIG = PRNetConfig(resolution=32, channels=2, batch_size=8, total_steps=60, learning_rate=0.02)
NET = ResFCN(32, 2)
STEP = 3e-4  # of the finite difference; from 1e-4 to 1e-3 it is the same within 5 %


def batch(count):
    """Faces and their maps."""
    params = [tfds_megn.sample_params(identity) for identity in range(count)]
    return {
        "image": np.stack([tfds_megn.render(p, "none", 32) for p in params]),
        "position_map": np.stack([tfds_megn.position_map(p, 32) for p in params]),
    }


def test_the_loss_is_the_weighted_mean_square():
    output, target = np.full((2, 2, 2, 3), 0.5, np.float32), np.full((2, 2, 2, 3), 0.5, np.float32)
    target[0, 0, 0] += [0.1, 0.2, 0.0]
    target[1, 1, 1] += [0.0, 0.0, 0.3]
    target[1, 0, 0] = [1.2, 0.5, 0.5]  # out of reach
    weights = np.array([[16.0, 3.0], [0.0, 1.0]], np.float32)
    expected = 1000 * (16 * (0.01 + 0.04) + 1 * 0.09) / (20 * 2)
    assert float(prnet.position_map_loss(output, target, weights)) == pytest.approx(expected, rel=1e-5)


def test_outputs_and_pixels_are_inverse_and_depth_is_about_the_middle():
    maps = np.array([[[[0.0, 35.2, 0.0], [70.4, 7.04, -35.2]]]], np.float32)
    np.testing.assert_allclose(prnet.to_output(maps, 64), [[[[0, 0.5, 0.5], [1, 0.1, 0]]]], atol=1e-6)

    class Net:
        size = 64

        def apply(self, variables, images):
            del variables, images
            return prnet.to_output(maps, 64)

    variables = {"params": {}, "batch_stats": {}}
    network = pretrained.PositionNetwork(Net(), variables, "prnet", prnet.DEPTH_OFFSET)  # not mirrored
    np.testing.assert_allclose(network(jnp.zeros((1, 64, 64, 3))), maps, atol=1e-4)


def noise(rng, leaf):
    return rng.standard_normal(leaf.shape).astype(np.float32)


def first_gradient(opt):
    """The gradient of a first update, from the running means: Muon's for kernels, Adam's for all else."""
    kinds = (contrib.MuonState, optax.ScaleByAdamState)
    states = [
        part for part in jax.tree.leaves(opt, is_leaf=lambda part: isinstance(part, kinds)) if hasattr(part, "mu")
    ]
    kernels, others = sorted(states, key=lambda part: kinds.index(type(part)))

    def gradient(kernel, other):
        return np.float64(other) / 0.1 if isinstance(kernel, optax.MaskedNode) else np.float64(kernel) / 0.05

    return jax.tree.map(gradient, kernels.mu, others.mu, is_leaf=lambda part: isinstance(part, optax.MaskedNode))


def test_the_gradient_is_that_of_the_loss_and_steps_go_down():
    """Against a finite difference along one random direction, all parameters at once.

    A dozen steps then find the one place that is best for all texels, as far as these few get: to tell left from right
    in pictures that may be mirrored takes hundreds.
    """
    config = dataclasses.replace(CONFIG, rotation=0.0, scale=0.0, shift=0.0, colour=0.0, occlusion=0.0)
    mesh = sharding.make_mesh(8, jax.devices()[:1])
    everywhere = sharding.replicated(mesh)
    state = jax.jit(functools.partial(prnet.init, config, NET), out_shardings=everywhere)()
    start, rng = jax.tree.map(np.array, state), np.random.default_rng(0)  # a copy: a step takes its state's memory
    # Fresh biases are 0, at the kink of every ReLU whose channel is dead.
    params = jax.tree.map(lambda leaf: leaf + 0.1 * noise(rng, leaf), start.variables["params"])
    start = start.replace(variables=start.variables | {"params": params})
    state = jax.device_put(start, everywhere)
    step = sharding.map_step(functools.partial(prnet.step, config, NET), mesh)
    rows, errors = sharding.put_rows(batch(8), mesh), []
    for _ in range(15):
        state, metrics = step(state, rows)
        if not errors:
            gradient = first_gradient(state.opt)
        errors.append(float(metrics["pixels"][0]))
    way = jax.tree.map(lambda leaf: 0.1 * noise(rng, leaf), params)

    def loss(distance):
        moved = jax.tree.map(lambda leaf, to: leaf + np.float32(distance) * to, params, way)
        there = start.replace(variables=start.variables | {"params": moved})
        return float(step(jax.device_put(there, everywhere), rows)[1]["position_map"][0])

    slope = (loss(STEP) - loss(-STEP)) / (2 * STEP)
    expected = sum(np.vdot(g, to) for g, to in zip(jax.tree.leaves(gradient), jax.tree.leaves(way), strict=True))
    assert slope == pytest.approx(expected, rel=0.05)
    assert int(state.step) == 15
    assert errors[-1] < 0.75 * errors[0]


def test_at_the_end_of_a_run_the_averages_of_the_normalisation_stay():
    config = dataclasses.replace(CONFIG, settle=0.5)
    mesh = sharding.make_mesh(8, jax.devices()[:1])
    init = jax.jit(functools.partial(prnet.init, config, NET), out_shardings=sharding.replicated(mesh))
    step, rows = sharding.map_step(functools.partial(prnet.step, config, NET), mesh), batch(8)
    for done, moves in ((29, True), (30, False)):  # of 60
        state = init().replace(step=jax.device_put(np.int32(done), sharding.replicated(mesh)))
        before = jax.tree.map(np.array, state.variables["batch_stats"])
        after = jax.device_get(step(state, sharding.put_rows(rows, mesh))[0].variables["batch_stats"])
        same = jax.tree.leaves(jax.tree.map(lambda a, b: (a == b).all(), before, after))
        assert not any(same) if moves else all(same)


def test_a_run_starts_from_the_network_that_it_is_given(tmp_path):
    given = jax.device_get(prnet.init(dataclasses.replace(CONFIG, seed=3), NET).variables)
    network = pretrained.PositionNetwork(NET, given, "megn", prnet.DEPTH_OFFSET, threshold=0.03)
    pretrained.write(tmp_path, "prnet", prnet.settings(network), given)
    assert prnet.start(dataclasses.replace(CONFIG, init=str(tmp_path))).threshold == 0.03
    config = dataclasses.replace(CONFIG, init=str(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, prnet.init(config, NET).variables, given)
    with pytest.raises(
        ValueError, match="a network of 32 pixels and 2 channels in the layout megn; the run needs 64, 2"
    ):
        prnet.init(dataclasses.replace(config, resolution=64), NET)


@pytest.mark.slow
def test_a_run_leaves_a_network_that_corrects_itself(tmp_path):
    config = PRNetConfig(
        dataset="megn/rendered_64_n600",
        data_dir=str(tmp_path / "data"),
        channels=2,
        total_steps=60,
        log_every=20,
        stages=2,
        components=24,
    )
    prnet.train(config, tmp_path / "run")
    network = pretrained.position_network(tmp_path / "run")
    faces = rendered.read(config.dataset, "test", config.data_dir)
    corrected, alone = (networks.measure_position_maps(each, faces)["all"]["face"] for each in (network, network.alone))
    again = dataclasses.replace(config, init=str(tmp_path / "run"), total_steps=0, stages=1, components=16)
    prnet.train(again, tmp_path / "again")
    more = pretrained.prnet_network(tmp_path / "again")
    assert [len(stage.basis) for stage in more.stages] == [24, 24, 16]
    first = {number: more.variables["stages"][number] for number in "01"}
    jax.tree.map(np.testing.assert_array_equal, first, network.variables["stages"])
    assert len(network.stages) == 2 and corrected < 0.7 * alone, (corrected, alone)
