"""The training step of the PyTorch peer: unsupported settings, and the networks that each part changes."""

import dataclasses

import pytest

from experiments import torch_peer
from sdgan_jax import config as c
from tests.benchmark.plain import PLAIN


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attributes": ("none", "mask")}, "set --config.attributes=\"\\('none',\\)\""),
        ({"generator": c.GeneratorConfig(low_precision_blocks=2)}, 'set --config.generator.low_precision_blocks="0"'),
        ({"accumulate": 2}, 'set --config.accumulate="1"'),
    ],
)
def test_unsupported_settings_are_refused(fields, message):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=message):
        torch_peer.make_torch(dataclasses.replace(PLAIN, **fields))


def test_each_part_changes_its_own_network_alone():
    torch = pytest.importorskip("torch")
    from experiments.torch_stylegan2 import training

    theirs = training.fastest(PLAIN, threads=1)
    assert theirs.name.startswith(f"torch {torch.__version__}, ")
    changes = {"g_forward": "", "d_step": "d", "r1": "d", "g_step": "g", "path_length": "g", "step+r1": "dg"}
    networks = {"d": theirs.discriminator, "g": theirs.generator}
    for part, changed in changes.items():
        before = {name: [weight.clone() for weight in net.parameters()] for name, net in networks.items()}
        theirs.run(part)
        for name, net in networks.items():
            same = [torch.equal(old, new) for old, new in zip(before[name], net.parameters())]
            assert not any(same[:2]) if name in changed else all(same), (part, name)
