"""The fit of supervised descent: the ridge regression that numpy finds, and maps of strangers that become better."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax.config import networks
from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.face3d import layout as layouts
from sdgan_jax.nets.prnet import ResFCN
from sdgan_jax.pretrained import PositionNetwork
from sdgan_jax.training.networks import descent

STILL = PRNetConfig(
    resolution=32, rotation=0.0, scale=0.0, shift=0.0, colour=0.0, occlusion=0.0, stages=1, components=6, ridge=0.5
)


def faces(first, count):
    params = np.stack([tfds_megn.sample_params(first + k) for k in range(count)])
    maps = np.stack([tfds_megn.position_map(p, 32) for p in params]).astype(np.float32)
    return tfds_megn.render(params, "none", 32), maps


@dataclasses.dataclass(frozen=True, eq=False)
class Guess(PositionNetwork):
    """Finds the same map in every picture before it corrects it."""

    always: np.ndarray | None = None

    def _maps(self, images):
        return jnp.broadcast_to(jnp.asarray(self.always), (len(images), 32, 32, 3))


def guess(maps):
    """The mean map, made its own mirror image."""
    mean = maps.mean(0)
    mean = (mean + mean[:, ::-1] * np.float32([-1, 1, 1]) + np.float32([31, 0, 0])) / 2
    return Guess(ResFCN(32, 2), {}, "megn", 0.5, always=mean)


def error(network, images, maps):
    off = np.asarray(network(jnp.asarray(images, jnp.float32) / 127.5 - 1)) - maps
    return float(np.sqrt(np.square(off[:, network.uv_layout.face, :2]).sum(-1)).mean())


def test_a_stage_is_the_ridge_regression_of_numpy():
    """With the weights of the texels, in float64; of features that are far outside only what is believed counts."""
    rng, layout = np.random.default_rng(0), layouts.megn(32)
    hidden = rng.standard_normal((5, 32, 32, 3))
    batches = []
    for _ in range(3):
        seen = 3 + 2 * rng.standard_normal((64, 40))
        missed = np.tensordot(seen[:, :5] - 2, hidden, 1) + 0.1 * rng.standard_normal((64, 32, 32, 3))
        batches.append((seen.astype(np.float32), missed.astype(np.float32)))
    batches[0][0][3, 7] = 1000.0
    config = dataclasses.replace(STILL, components=8)
    stage = descent.solve(config, layout, iter([tuple(map(jnp.asarray, batch)) for batch in batches]))

    seen, missed = (np.concatenate(parts).astype(np.float64) for parts in zip(*batches, strict=True))
    unit = np.clip((seen - seen.mean(0)) / seen.std(0), -4, 4)
    unit = np.concatenate([unit, np.ones((192, 1))], 1)
    root = np.sqrt(np.float64(layout.weights))[..., None]
    weighted = (root * missed).reshape(192, -1)
    basis = np.linalg.svd(weighted, full_matrices=False)[2][:8]
    penalty = STILL.ridge * 192 * np.diag(np.append(np.ones(40), 0.0))
    weights = np.linalg.solve(unit.T @ unit + penalty, unit.T @ (weighted @ basis.T))
    expected = (unit @ weights @ basis).reshape(missed.shape)[:, layout.face] / root[layout.face]
    ours = np.tensordot(unit @ np.float64(stage.weights), np.float64(stage.basis), 1)
    np.testing.assert_allclose(ours[:, layout.face], expected, atol=1e-3 * np.abs(expected).max())
    assert not ours[:, layout.weights == 0].any()


@pytest.mark.slow
def test_strangers_are_found_better_with_every_stage():
    images, maps = faces(0, 256)
    strangers = faces(1000, 40)
    network, config = guess(maps), dataclasses.replace(STILL, stages=2, components=12)
    fitted = descent.fit(config, network, images, maps)
    assert len(fitted.stages) == 2
    one = dataclasses.replace(fitted, variables={"stages": {"0": fitted.variables["stages"]["0"]}})
    errors = [error(each, *strangers) for each in (network, one, fitted)]
    assert errors[1] < 0.8 * errors[0] and errors[2] < 0.95 * errors[1], errors


def test_principal_directions_are_those_of_the_singular_value_decomposition():
    rows = np.random.default_rng(0).standard_normal((20, 4, 5)).astype(np.float32)
    ours = np.asarray(descent.principal(jnp.asarray(rows), 3)).reshape(3, 20)
    right = np.linalg.svd(rows.reshape(20, 20).astype(np.float64))[2][:3]
    np.testing.assert_allclose(np.abs(ours @ right.T), np.eye(3)[::-1], atol=1e-3)


@pytest.mark.parametrize("change", [{"stages": -1}, {"components": 0}, {"ridge": 0.0}])
def test_fits_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=f"config.{next(iter(change))} is "):
        networks.validate(PRNetConfig(**change))


def test_fewer_faces_than_components_are_refused():
    config = dataclasses.replace(STILL, components=48)
    for fine, faces in ((config, 48), (dataclasses.replace(config, stages=0), 47)):
        descent.check(fine, faces)
    # Of 100 faces one batch of 64 is whole; the basis is that of the first 2,048 faces.
    many = {"stage_faces": 10**6}
    for change, faces, basis in (
        ({}, 47, 47),
        ({"stage_faces": 47}, 1000, 47),
        ({"components": 65}, 100, 64),
        (many | {"components": 2049}, 10**6, 2048),
        ({}, 0, 0),
    ):
        changed = dataclasses.replace(config, **change)
        with pytest.raises(
            ValueError,
            match=f"config.components is {changed.components}, but only {basis} faces give a stage its basis; lower",
        ):
            descent.check(changed, faces)
    descent.check(dataclasses.replace(config, components=2048, **many), 10**6)
