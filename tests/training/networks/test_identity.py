"""Training of the identity network: that it learns, on several devices; pairs, and the nearest photographs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import pretrained
from sdgan_jax.config.networks import IdentityConfig, validate
from sdgan_jax.data import rendered
from sdgan_jax.data.rendered import Faces
from sdgan_jax.evaluation import networks
from sdgan_jax.training import sharding
from sdgan_jax.training.networks import identity
from tests.data.noise_faces import make_faces

CONFIG = IdentityConfig(
    resolution=16, blocks=(1,), widths=(16,), embedding_dim=8, batch_size=8, total_steps=60, learning_rate=0.02
)
STILL = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "colour": 0.0, "occlusion": 0.0}
NET = identity.network(CONFIG)


def start(config, devices, persons):
    mesh = sharding.make_mesh(config.batch_size, jax.devices()[:devices])
    init = functools.partial(identity.init, config, NET, persons)
    state = jax.jit(init, out_shardings=sharding.replicated(mesh))()
    return mesh, state, sharding.map_step(functools.partial(identity.step, config, NET), mesh)


def test_it_learns_persons_and_tells_new_ones_apart():
    config = dataclasses.replace(CONFIG, batch_size=24, **STILL)
    known, new = make_faces(24).first(48), make_faces(40)
    classes = np.unique(known.identities, return_inverse=True)[1].astype(np.int32)
    mesh, state, step = start(config, 1, 24)
    batches = rendered.Batches({"image": known.images, "person": classes}, 24, 0)
    values = []
    for _ in range(60):
        state, metrics = step(state, sharding.put_rows(next(batches), mesh))
        values.append([float(metrics[name][0]) for name in ("arcface", "cosine")])
    assert int(state.step) == 60
    assert values[-1][0] < 0.5 * values[0][0] and values[-1][1] > values[0][1] + 0.4
    network = jax.jit(functools.partial(NET.apply, jax.device_get(state.variables)))
    pairs = rendered.draw_pairs(new, 60, 2000)
    table = networks.verify_pairs(network, new.images, new.images, pairs)
    assert table["as stored"]["accuracy"] > 0.85  # 0.5 by chance


def test_a_step_is_the_mean_over_devices(monkeypatch):
    """Without anything random: prototypes move by the gradient that both halves of the batch have on the mean."""
    monkeypatch.setattr(identity, "_distort", lambda config, key, image, other: image)
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    batch = {"image": np.concatenate([image, image]), "person": np.tile(np.arange(4, dtype=np.int32), 2)}
    results = []
    for devices in (1, 2):  # both halves are equal, so that the statistics of a half are those of the whole
        mesh, state, step = start(CONFIG, devices, 4)
        for _ in range(2):  # the rate is 0 in the first
            state, metrics = step(state, sharding.put_rows(batch, mesh))
        results.append(jax.device_get((state.prototypes, state.variables["batch_stats"], metrics)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)


def test_what_is_written_is_read(tmp_path):
    variables = jax.jit(NET.init)(jax.random.key(0, impl="unsafe_rbg"), jnp.zeros((1, 16, 16, 3)))
    pretrained.write(tmp_path, "identity", identity.settings(CONFIG), variables)
    images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3), minval=-1.0)
    found = jax.jit(pretrained.identity_network(tmp_path))(images)
    np.testing.assert_allclose(found, jax.jit(NET.apply)(variables, images), atol=1e-6)


def test_the_nearest_are_those_of_greatest_cosine():
    """Twelve unit vectors in the plane at chosen angles; person k has the rows k and k + 4 and k + 8."""
    degrees = np.array([0, 90, 180, 270, 10, 95, 175, 290, -25, 60, 200, 265])
    embeddings = np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], 1)
    rows = identity.nearest(embeddings, np.tile([3, 5, 7, 9], 3))
    for number, row in enumerate(rows):
        away = np.abs((degrees - degrees[number] + 180) % 360 - 180)
        expected = sorted((a, k) for k, a in enumerate(away) if k != number)[:5]
        assert row[0] == number
        np.testing.assert_array_equal(away[row[1:]], [a for a, _ in expected])


def test_the_sheet_shows_the_nearest():
    """Every photograph is of one colour, which the network embeds as an angle; rows are read off the sheet."""
    shades = np.arange(12) * 20
    images = np.broadcast_to(shades[:, None, None, None], (12, 96, 96, 3)).astype(np.uint8)
    faces = Faces(images, np.zeros(12, np.int32), np.arange(12) // 2, np.zeros((12, 1), np.float32))

    def network(images):
        angle = (images[:, 0, 0, 0] + 1) * 127.5 / 255
        return np.stack([np.cos(angle), np.sin(angle)], 1)

    sheet = identity.nearest_sheet(network, faces)
    rows = identity.nearest(network(images / np.float32(127.5) - 1), faces.identities)
    top = sheet.shape[0] - 6 * 98
    found = [[int(sheet[top + 98 * i + 48, 2 + 98 * j + 48, 0]) for j in range(6)] for i in range(6)]
    assert found == [[int(shades[k]) for k in row] for row in rows]
    assert found[0] == [0, 20, 40, 60, 80, 100]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": (1, 1, 1)}, r"config.blocks is \(1, 1, 1\) and config.widths \(8, 24, 64, 128\)"),
        ({"resolution": 128}, "set both to the same"),
        ({"batch_size": 0}, "config.batch_size is 0"),
    ],
)
def test_configs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        validate(dataclasses.replace(IdentityConfig(), **change))
