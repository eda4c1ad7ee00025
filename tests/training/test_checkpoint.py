import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from sdgan_jax import config as config_lib
from sdgan_jax.training import checkpoint
from sdgan_jax.training import damage as damage_lib
from sdgan_jax.training import workdir as workdir_lib


@flax.struct.dataclass
class State:
    step: jax.Array
    params: dict
    opt: tuple


class Position:
    position, skipped, dataset = 0, (), "faces"


def replicated(num_devices):
    return NamedSharding(Mesh(np.array(jax.devices()[:num_devices]), ("data",)), PartitionSpec())


def make_state(seed, num_devices=4, width=5):
    rng = np.random.default_rng(seed)
    params = {
        "kernel": rng.normal(size=(3, width)).astype(np.float32),
        "inner": {"bias": rng.normal(size=width).astype(np.float16)},
    }
    state = State(step=np.int32(seed), params=params, opt=optax.adam(1e-3).init(params))
    return jax.device_put(state, replicated(num_devices))


def assert_equal(some, other):
    assert jax.tree.structure(some) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(other)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def config():
    return config_lib.Config(resolution=64, dataset="megn/rendered_64", keep_checkpoints=2)


def save(workdir, config, steps, scores=None):
    with checkpoint.Checkpoints(workdir, config) as checkpoints:
        for step in steps:
            batches = Position()
            batches.position = 10 * step
            checkpoints.save(step, make_state(step), batches, (scores or {}).get(step))
        checkpoints.wait()
        return sorted(int(path.name) for path in checkpoints.directory.iterdir())


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]", b"{}", b'{"score": "x"}'])
def test_a_damaged_score_is_named(tmp_path, config, content):
    save(tmp_path, config, [3, 4], {3: 0.5})
    file = tmp_path / "checkpoints" / "3" / "metrics" / "metrics"
    file.write_bytes(content)
    for read in (
        lambda: checkpoint.open_state(tmp_path, {"step": jax.ShapeDtypeStruct((), np.int32)}),
        lambda: checkpoint.Checkpoints(tmp_path, config),
    ):
        line = f"^{file} is damaged; move {file.parent.parent} away, and"
        with pytest.raises(damage_lib.DamagedError, match=line):
            read()


@pytest.mark.parametrize("num_devices", [4, 1])
def test_restores_what_was_saved_onto_the_devices_asked_for(tmp_path, config, num_devices):
    save(tmp_path, config, [3, 7])
    target, batches = make_state(0, num_devices), Position()
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert checkpoints.latest_step == 7
        restored = checkpoints.restore(target, batches)
        assert_equal(restored, make_state(7))
        assert batches.position == 70
        assert all(leaf.sharding == replicated(num_devices) for leaf in jax.tree.leaves(restored))
        assert_equal(checkpoints.restore(target, batches, step=3), make_state(3))
        assert batches.position == 30


def test_a_save_is_not_changed_by_the_steps_that_follow(tmp_path, config):
    sharding = replicated(4)
    step = jax.jit(lambda x: x + 1, donate_argnums=0, out_shardings=sharding)
    x = jax.device_put(np.zeros((512, 512), np.float32), sharding)
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(0, {"x": x}, Position())
        for _ in range(20):  # while the save goes on in the background, into donated memory
            x = step(x)
        restored = checkpoints.restore({"x": x}, Position())["x"]
    assert x[0, 0] == 20
    np.testing.assert_array_equal(restored, np.zeros((512, 512)))


def test_images_that_were_left_out_are_saved_with_the_position(tmp_path, config):
    batches = Position()
    batches.position, batches.skipped = 4, {7, 3}
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(1, make_state(1), batches)
        checkpoints.restore(make_state(0), other := Position())
    assert (other.position, other.skipped) == (4, {3, 7})


def with_nan(state):
    return state.replace(params=state.params | {"kernel": state.params["kernel"].at[0, 2].set(np.nan)})


def test_a_state_that_is_not_finite_is_not_saved(tmp_path, config):
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(1, make_state(1), Position())
        with pytest.raises(FloatingPointError, match="^params/kernel is not finite after step 2$"):
            checkpoints.save(2, with_nan(make_state(2)), Position())
        assert checkpoints.latest_step == 1


def test_a_saved_state_that_is_not_finite_is_damaged(tmp_path, config, monkeypatch):
    """Version 0.1 saved such states."""
    with monkeypatch.context() as patched, checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(1, make_state(1), Position())
        patched.setattr(checkpoints, "check_finite", lambda step, state: {})
        checkpoints.save(2, with_nan(make_state(2)), Position())
    shapes = {"params": jax.eval_shape(lambda: make_state(0)).params}
    assert_equal(checkpoint.open_state(tmp_path, shapes), {"params": make_state(1).params})
    said = []
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert_equal(checkpoints.restore(make_state(0), Position(), say=said.append), make_state(1))
    assert "checkpoints/2 is damaged: 1 arrays are not finite, params/kernel; going on from step 1" in said[0]


def test_keeps_the_newest_and_the_best(tmp_path, config):
    scores = {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.2, 6: 0.3}  # 5 has none
    assert save(tmp_path, config, [1, 2, 3, 4, 5, 6], scores) == [2, 5, 6]
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert (checkpoints.latest_step, checkpoints.best_step) == (6, 2)
        checkpoints.save(7, make_state(7), Position(), 1.5)
        checkpoints.save(8, make_state(8), Position(), -1.0)
        checkpoints.save(9, make_state(9), Position(), -2.0)
        assert checkpoints.best_step == 7
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["7", "8", "9"]


def test_without_scores_only_the_newest_stay(tmp_path, config):
    assert save(tmp_path, config, [1, 2, 3, 4]) == [3, 4]
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert checkpoints.best_step is None


def test_saving_a_step_twice_keeps_the_first(tmp_path, config):
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(5, make_state(5), Position())
        checkpoints.save(5, make_state(6), Position())
        checkpoints.wait()
        assert_equal(checkpoints.restore(make_state(0), Position()), make_state(5))


def test_a_kill_in_the_middle_of_a_save_leaves_the_one_before(tmp_path, config):
    (tmp_path / "config.json").write_text(config_lib.to_json(config))
    program = f"""
        import os, signal
        import jax, numpy as np
        from sdgan_jax import config
        from sdgan_jax.training import checkpoint, workdir
        class Position: position, skipped, dataset = 4, (), "faces"
        state = lambda value: {{"x": jax.device_put(np.full((16, 1024, 1024), value, np.float32))}}
        checkpoints = checkpoint.Checkpoints({str(tmp_path)!r}, workdir.load_config({str(tmp_path)!r}, config.Config))
        checkpoints.save(1, state(1), Position())
        checkpoints.wait()
        checkpoints.save(2, state(2), Position())  # 64 MB, written in the background
        while not any("tmp" in path.name for path in checkpoints.directory.iterdir()): pass
        os.kill(os.getpid(), signal.SIGKILL)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=os.environ)
    assert result.returncode == -signal.SIGKILL
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left[0] == "1" and any(name.startswith("2.") and "tmp" in name for name in left)
    shape = jax.ShapeDtypeStruct((16, 1024, 1024), jnp.float32, sharding=replicated(1))
    read = checkpoint.open_state(tmp_path, {"x": shape})["x"]
    assert read[0, 0, 0] == 1 and read[-1, -1, -1] == 1
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert checkpoints.latest_step == 1
        checkpoints.save(2, {"x": jnp.zeros(3)}, Position())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]


def test_open_state_reads_a_part_onto_one_device(tmp_path, config):
    save(tmp_path, config, [1, 2, 3], {1: 5.0, 2: 1.0, 3: 1.0})
    shapes = jax.eval_shape(lambda: make_state(0)).params
    newest = checkpoint.open_state(tmp_path, {"params": shapes})
    assert_equal(newest, {"params": make_state(3).params})
    here = SingleDeviceSharding(jax.local_devices()[0])
    assert all(leaf.sharding == here for leaf in jax.tree.leaves(newest))
    assert_equal(checkpoint.open_state(tmp_path, {"params": shapes}, best=True), {"params": make_state(1).params})


def test_arrays_that_do_not_fit_are_named(tmp_path, config):
    save(tmp_path, config, [1])
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        with pytest.raises(ValueError, match=r"params/kernel is float32\[3,5\], expected float32\[3,6\]"):
            checkpoints.restore(make_state(0, width=6), Position())
        missing = make_state(0).replace(params={"kernel": make_state(0).params["kernel"]})
        with pytest.raises(ValueError, match="params/inner/bias is not expected"):
            checkpoints.restore(missing, Position())
    wanted = {"params": {"kernel": jax.ShapeDtypeStruct((3, 5), jnp.float16), "gain": jnp.zeros(2)}}
    with pytest.raises(ValueError, match=r"gain is missing, expected float32\[2\]") as raised:
        checkpoint.open_state(tmp_path, wanted)
    assert "params/kernel is float32[3,5], expected float16[3,5]" in str(raised.value)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def shorten(path):
    path.write_bytes(path.read_bytes()[:10])


def files_of(workdir, step, part):
    """The files of a part of a checkpoint: the arrays, what says where they are, or the JSON beside them."""
    root = workdir / "checkpoints" / str(step)
    return {
        "arrays": [path for path in (root / "state").rglob("d/*") if path.is_file()],
        "names": [root / "state" / "_METADATA"],
        "index": [path for path in root.rglob("manifest.ocdbt")],
        "json": [root / "data" / "metadata"],
    }[part]


DAMAGES = [
    (zero, "arrays"),
    (flip_a_byte, "arrays"),
    (shorten, "arrays"),
    (pathlib.Path.unlink, "arrays"),
    (zero, "names"),
    (pathlib.Path.unlink, "index"),
    (shorten, "json"),
]


@pytest.mark.parametrize(("damage", "part"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path, config, capsys, damage, part):
    save(tmp_path, config, [1, 2])
    files = files_of(tmp_path, 2, part)
    assert files
    for path in files:
        damage(path)
    shapes = jax.eval_shape(lambda: make_state(0)).params
    assert_equal(checkpoint.open_state(tmp_path, {"params": shapes}), {"params": make_state(1).params})
    said = capsys.readouterr().err
    assert (
        "checkpoints/2 is damaged: " in said
        and said.endswith("; the one of step 1 is used\n")
        and said.count("\n") == 1
    )

    lines, batches = [], Position()
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert_equal(checkpoints.restore(make_state(0), batches, say=lines.append), make_state(1))
        assert batches.position == 10
        (line,) = lines
        assert "checkpoints/2 is damaged: " in line and "going on from step 1" in line and "damaged/2" in line
        checkpoints.save(2, make_state(5), Position())  # the run comes to step 2 again
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert_equal(checkpoints.restore(make_state(0), Position()), make_state(5))
    assert (tmp_path / "damaged" / "2").is_dir()


def test_where_every_checkpoint_is_damaged_the_newest_is_named(tmp_path, config):
    save(tmp_path, config, [1, 2])
    for path in files_of(tmp_path, 1, "arrays") + files_of(tmp_path, 2, "arrays"):
        shorten(path)
    with pytest.raises(damage_lib.DamagedError, match=r"checkpoints/2 is damaged: .*every other of the 2") as raised:
        checkpoint.open_state(tmp_path, {"params": make_state(0).params})
    assert "\n" not in str(raised.value)
    with pytest.raises(damage_lib.DamagedError, match=r"checkpoints/1 is damaged: .*only checkpoint"):
        checkpoint.open_state(tmp_path, {"params": make_state(0).params}, step=1)


def test_a_checkpoint_of_a_step_can_be_asked_for(tmp_path, config):
    save(tmp_path, config, [1, 2])
    shapes = jax.eval_shape(lambda: make_state(0)).params
    assert_equal(checkpoint.open_state(tmp_path, {"params": shapes}, step=1), {"params": make_state(1).params})
    with pytest.raises(FileNotFoundError, match="holds no checkpoint of step 7; there are 1, 2"):
        checkpoint.open_state(tmp_path, {"params": shapes}, step=7)


def test_checkpoints_without_checksums_are_read(tmp_path, config):
    save(tmp_path, config, [1])
    (file,) = files_of(tmp_path, 1, "json")
    file.write_text(json.dumps({"position": 10}))
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert_equal(checkpoints.restore(make_state(0), Position()), make_state(1))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(small_disk, config):
    big = make_state(2).replace(params={"noise": jnp.asarray(np.random.default_rng(0).normal(size=200_000))})
    with pytest.raises(RuntimeError, match=r"disk is full \(.*MiB free\).*step 1 stays; make room") as raised:
        with checkpoint.Checkpoints(small_disk, config) as checkpoints:
            checkpoints.save(1, make_state(1), Position())
            checkpoints.wait()
            checkpoints.save(2, jax.device_put(big, replicated(4)), Position())
            checkpoints.wait()
    assert "\n" not in str(raised.value)
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["1"]


def test_where_there_is_no_checkpoint_the_message_says_what_to_do(tmp_path, config):
    for workdir, what in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "has no config.json")):
        with pytest.raises(FileNotFoundError, match=f"{what}.*experiments.train --workdir={workdir}"):
            workdir_lib.load_config(workdir, config_lib.Config)
        with pytest.raises(FileNotFoundError, match=f"nor a checkpoint; train.*experiments.train --workdir={workdir}"):
            checkpoint.open_state(workdir, {"x": jnp.zeros(1)})
    with checkpoint.Checkpoints(tmp_path, config) as checkpoints:
        assert checkpoints.latest_step is None
        with pytest.raises(FileNotFoundError, match="checkpoints holds no checkpoint"):
            checkpoints.restore({"x": jnp.zeros(1)}, Position())
        with pytest.raises(FileNotFoundError, match="checkpoints holds no checkpoint 4"):
            checkpoints.restore({"x": jnp.zeros(1)}, Position(), step=4)
    with pytest.raises(FileNotFoundError, match="neither weights.safetensors nor a checkpoint"):
        checkpoint.open_state(tmp_path, {"x": jnp.zeros(1)})
