import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdgan_jax import memo


@pytest.fixture
def folder(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def count(answers):
    """Returns a function that gives the answers one after the other, and the list of those given."""
    given = []

    def compute():
        given.append(answers[len(given)])
        return given[-1]

    return compute, given


def test_a_result_is_computed_once(folder):
    compute, given = count([b"first", b"second", b"third"])
    assert memo.recall("name", "settings", compute) == memo.recall("name", "settings", compute) == b"first"
    assert memo.recall("name", "other settings", compute) == b"second"
    assert memo.recall("other name", "settings", compute) == b"third"
    assert len(given) == len(list(folder.iterdir())) == 3


def test_the_folder_is_made(folder):
    compute, _ = count([b"first", b"second"])
    jax.config.update("jax_compilation_cache_dir", str(folder / "new" / "folder"))
    assert memo.recall("name", "", compute) == memo.recall("name", "", compute) == b"first"


def test_other_code_has_other_results(folder, monkeypatch):
    compute, _ = count([b"first", b"second"])
    memo.recall("name", "", compute)
    monkeypatch.setattr(memo, "_code", lambda: "other")
    assert memo.recall("name", "", compute) == b"second"


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"\0"])
def test_a_damaged_file_is_replaced(folder, damage):
    compute, given = count([b"first", b"second"])
    memo.recall("name", "", compute)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert memo.recall("name", "", compute) == memo.recall("name", "", compute) == b"second"
    assert len(given) == 2


def test_an_error_is_raised_and_not_kept(folder):
    with pytest.raises(ValueError, match="no network"):
        memo.shapes("name", "", lambda: exec("raise ValueError('no network')"))
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "option, value",
    [
        ("jax_compilation_cache_dir", None),
        ("jax_compilation_cache_dir", "gs://bucket/cache"),
        ("jax_compilation_cache_dir", "/proc/no/such/folder"),
        ("jax_enable_compilation_cache", False),
    ],
)
def test_nothing_is_kept_without_a_cache_on_a_local_disk(folder, option, value):
    before = jax.config.values[option]
    compute, _ = count([b"first", b"second"])
    try:
        jax.config.update(option, value)
        assert memo.recall("name", "", compute) == b"first"
        assert memo.recall("name", "", compute) == b"second"
    finally:
        jax.config.update(option, before)
    assert not list(folder.iterdir())


def test_shapes_are_those_of_jax(folder):
    def init(key):
        return {
            "params": {"a/b": jax.random.normal(key, (3, 4)), "none": {}},
            "step": jnp.zeros((), jnp.int32),
            "half": jnp.ones((2,), jnp.bfloat16),
            "known": jnp.ones((1,), bool),
        }

    expected = jax.eval_shape(init, jax.random.key(0))
    for _ in range(2):  # the second time from the file
        found = memo.shapes("network", "", lambda: jax.eval_shape(init, jax.random.key(0)))
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert jax.tree.map(lambda leaf: (leaf.shape, np.dtype(leaf.dtype)), found) == jax.tree.map(
            lambda leaf: (leaf.shape, np.dtype(leaf.dtype)), expected
        )
    assert len(os.listdir(folder)) == 1
