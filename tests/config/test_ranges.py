import dataclasses
import math
import typing

import pytest

from sdgan_jax import config as config_lib
from sdgan_jax.config import networks, ranges


@pytest.mark.parametrize(
    ("limits", "text", "inside", "outside"),
    [
        (ranges.Range(1), "at least 1", (1, 1.5, 10**6), (0, 0.999)),
        (ranges.Range(0, 1), "at least 0 and at most 1", (0, 0.5, 1), (-0.1, 1.1)),
        (ranges.Range(0, open_least=True), "above 0", (1e-9, 5), (0, -1)),
        (ranges.Range(0, 1, open_most=True), "at least 0 and below 1", (0, 0.999), (1, 2)),
        (ranges.Range(0, 2**32 - 1), "at least 0 and at most 4294967295", (2**32 - 1,), (2**32,)),
    ],
)
def test_a_range_says_what_lies_in_it(limits, text, inside, outside):
    assert str(limits) == text
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in (*outside, math.nan, math.inf, -math.inf, 10**400))


@dataclasses.dataclass
class Inner:
    share: ranges.Share = 0.5


@dataclasses.dataclass
class Outer:
    count: ranges.Count = 1
    sizes: tuple[ranges.Count, ...] = (1, 2)
    kind: typing.Literal["", "a"] = ""
    plain: bool = False
    inner: Inner = dataclasses.field(default_factory=Inner)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, None),
        ({"count": True}, "config.count is True; it must be a whole number"),
        ({"count": 1.0}, "config.count is 1.0; it must be a whole number"),
        ({"plain": 1}, "config.plain is 1; it must be true or false"),
        ({"kind": "b"}, "config.kind is 'b'; it must be one of '', a"),
        ({"sizes": [1]}, "config.sizes is [1]; it must be a list such as \"('a', 'b')\""),
        ({"sizes": (1, 0)}, "config.sizes is 0; it must be at least 1 and at most 2147483647"),
        ({"inner": Inner(2)}, "config.inner.share is 2; it must be at least 0 and at most 1"),
        ({"inner": Inner("0")}, "config.inner.share is '0'; it must be a number"),
        ({"inner": Inner(1)}, None),
    ],
)
def test_the_first_field_that_does_not_fit_is_named(fields, message):
    config = dataclasses.replace(Outer(), **fields)
    if message is None:
        ranges.check(config)
        return
    with pytest.raises(ValueError) as raised:
        ranges.check(config)
    assert str(raised.value) == message


def kinds(config, path=""):
    """Yields the name and the declared type of every field, groups opened."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(value := getattr(config, field.name)):
            yield from kinds(value, f"{path}{field.name}.")
        else:
            yield path + field.name, hints[field.name]


@pytest.mark.parametrize("config", [config_lib.Config(), networks.PRNetConfig(), networks.IdentityConfig()], ids=type)
def test_every_number_has_its_range(config):
    for name, kind in kinds(config):
        kind = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
        assert kind not in (int, float), f"{name} has no range: declare it with a type of sdgan_jax.config.ranges"


def test_home_folders_in_paths_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    config = config_lib.Config(data_dir="~/data", manual_dir="gs://bucket/~", dataset="~/not_a_path")
    config.losses.identity_network = "~"
    ranges.expand_paths(config)
    assert (config.data_dir, config.manual_dir) == ("/somewhere/data", "gs://bucket/~")
    assert (config.losses.identity_network, config.dataset) == ("/somewhere", "~/not_a_path")
