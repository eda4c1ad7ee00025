"""Measures a config's training step, part by part: speed, memory, share of the machine's peak; or FID's statistics.

With --topology it runs nothing, and compiles the step for a TPU pod that need not be there.

python -m experiments.benchmark --out=FILE.json                                       (StyleGAN2 at 64×64, full width)
python -m experiments.benchmark --config=experiments/configs/faces256.py --out=FILE.json
python -m experiments.benchmark --torch --out=FILE.json                               (beside PyTorch)
python -m experiments.benchmark --metrics --out=FILE.json     (FID's statistics, beside torch-fidelity, on CPU)
JAX_PLATFORMS=cpu python -m experiments.benchmark --config=experiments/configs/pod.py --topology=v5e:8x8 --out=FILE.json

Any preset and any override can be measured, such as --config.resolution, --config.generator.channel_max,
--config.batch_size or --config.generator.low_precision_blocks. Run measurements on an otherwise idle machine.
--topology needs the TPU compiler, pip install -e '.[tpu]', but no TPU and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from absl import flags
from etils import epath

from experiments import fidelity_peer, launch, presets, torch_peer
from sdgan_jax import outputs, pretrained
from sdgan_jax.benchmark import measurement, report, statistics_speed, steps, topology, topology_table
from sdgan_jax.config import Config
from sdgan_jax.importers import inception
from sdgan_jax.nets.inception import Inception

BY = f"{outputs.MADE_BY} benchmark"
CONFIG = presets.define_config("benchmark64")
OUT = launch.define_path("out", None, "JSON file for all results", required=True)
REPEATS = flags.DEFINE_integer("repeats", 5, "number of rounds; each measures every part once", lower_bound=1)
TORCH = flags.DEFINE_bool(
    "torch", False, "measure a plain PyTorch StyleGAN2 of the same shape in alternation; on CPU, for configs without F"
)
TOPOLOGY = flags.DEFINE_string(
    "topology", None, "compile for a TPU pod instead, such as v4:2x2x2, v5e:2x4, v5e:16x16, v5p:4x4x4 or v6e:8x8"
)
METRICS = flags.DEFINE_bool("metrics", False, "measure FID's statistics beside torch-fidelity instead; random weights")


def main(argv: Sequence[str]) -> None:
    """Measures what the flags ask for, writes the JSON file and prints the table."""
    del argv
    config, out = steps.measured(CONFIG.value), epath.Path(OUT.value)
    if out.is_dir():
        raise ValueError(f"--out={OUT.value} is a folder; name a file in it, such as {OUT.value}/benchmark.json")
    outputs.check_own([out], BY)
    out.parent.mkdir(parents=True, exist_ok=True)
    if TOPOLOGY.value:
        results = _compile_for_pod(config, TOPOLOGY.value)
        print(topology_table.table(results))
    elif METRICS.value:
        results = _measure_statistics()
        print(statistics_speed.table(results))
    else:
        peer = torch_peer.make_torch(config) if TORCH.value else None
        results = measurement.measure(config, REPEATS.value, peer)
        print(report.table(results))
    outputs.write_json(out, results, BY)
    print(f"All figures: {out}")


def _compile_for_pod(config: Config, name: str) -> dict[str, Any]:
    """Compiles the training step for the devices of a topology."""
    if TORCH.value or METRICS.value:
        raise ValueError("--topology runs nothing; leave out --torch and --metrics")
    jax.config.update("jax_enable_compilation_cache", False)  # compilation is what is measured
    return topology.measure(config, name)


def _measure_statistics() -> dict[str, Any]:
    """Measures FID's statistics, both sides with the same random weights."""
    if TORCH.value:
        raise ValueError("--torch and --metrics are two measurements; give one of them")
    state = fidelity_peer.random_state()
    peer = fidelity_peer.make_fidelity(state)
    network = pretrained.InceptionNetwork(Inception(), inception.variables_of(state))
    return statistics_speed.measure(network, peer, REPEATS.value)


if __name__ == "__main__":
    launch.run(main)
