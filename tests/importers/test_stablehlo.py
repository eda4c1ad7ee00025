"""A generator as StableHLO: called in a process that has jax, and nothing of this project or of flax."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import sdgan_jax
from sdgan_jax.importers import stablehlo
from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import weights
from tests.training import tiny

CALL = """
import sys
for name in ("sdgan_jax", "flax", "experiments", "tests"):
    sys.modules[name] = None  # importing it fails
import jax, jax.export, numpy as np
program = jax.export.deserialize(open(sys.argv[1], "rb").read())
inputs = np.load(sys.argv[2])
assert set(program.platforms) == {"cpu", "cuda", "tpu"}
for count in (1, 3):
    images = program.call(inputs["z"][:count], inputs["attributes"][:count], inputs["truncation"])
    np.save(f"{sys.argv[3]}{count}.npy", images)
"""


@pytest.fixture(scope="module", autouse=True)
def needs_flatbuffers():
    pytest.importorskip("flatbuffers")


def test_the_file_draws_what_the_model_draws(tmp_path):
    config = tiny.config(latent_space="w", basis_length=3.0)
    state = tiny.random_state(config, seed=4)
    model = sdgan_jax.Model(make_networks(config), {name: getattr(state, name) for name in weights.FIELDS})
    z = np.random.default_rng(0).standard_normal((3, config.generator.latent_dim)).astype(np.float32)
    worn = np.zeros((3, config.num_attributes), np.float32)
    worn[1, 1] = 0.8  # the second face wears the first attribute, at this strength
    stablehlo.write(tmp_path / "g.stablehlo", model)
    np.savez(tmp_path / "in.npz", z=z, attributes=worn, truncation=np.float32(0.7))
    (tmp_path / "call.py").write_text(CALL)
    command = [sys.executable, "call.py", "g.stablehlo", "in.npz", "out"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    plain = model.generate(z, truncation=0.7)
    name = config.attributes[1]
    expected = np.stack([plain[0], model.generate(z, name, strength=0.8, truncation=0.7)[1], plain[2]])
    assert np.abs(expected[1] - plain[1]).max() > 1e-3
    for count in (1, 3):
        np.testing.assert_allclose(np.load(tmp_path / f"out{count}.npy"), expected[:count], rtol=0, atol=1e-5)


def test_a_conditional_generator_takes_the_label(tmp_path):
    from sdgan_jax.importers import assembly, nvlabs
    from tests.importers import states

    parts = nvlabs.parts_of(states.nvlabs_g((8, 6), 12, 2, classes=3), None)
    imported = assembly.assemble("x", nvlabs.FORMAT, parts)
    model = sdgan_jax.Model(make_networks(imported.config), jax.tree.map(jax.numpy.asarray, imported.trees))
    assert "label f32[N,3]" in stablehlo.signature(imported.config)
    program = jax.export.deserialize(stablehlo.serialize(model))
    z = np.random.default_rng(0).standard_normal((2, 12)).astype(np.float32)
    label = np.eye(3, dtype=np.float32)[[2, 0]]
    images = program.call(z, np.zeros((2, 1), np.float32), np.float32(1), label)
    expected = model.generate(z, label=label)
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
