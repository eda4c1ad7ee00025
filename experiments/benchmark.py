"""Measures speed and memory of a config's training step, part by part, and its share of the machine's peak.

python -m experiments.benchmark --out=FILE.json                                       (StyleGAN2 at 64×64, full width)
python -m experiments.benchmark --config=experiments/configs/faces256.py --out=FILE.json
python -m experiments.benchmark --torch --out=FILE.json                               (beside PyTorch)

Any preset and any override can be measured, such as --config.resolution, --config.generator.channel_max,
--config.batch_size or --config.generator.low_precision_blocks. Run it on an otherwise idle machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epath

from experiments import launch, presets, torch_peer
from sdgan_jax import outputs
from sdgan_jax.benchmark import measurement, report

BY = f"{outputs.MADE_BY} benchmark"
CONFIG = presets.define_config("benchmark64")
OUT = launch.define_path("out", None, "JSON file for all results", required=True)
REPEATS = flags.DEFINE_integer("repeats", 5, "number of rounds; each measures every part once", lower_bound=1)
TORCH = flags.DEFINE_bool(
    "torch", False, "measure a plain PyTorch StyleGAN2 of the same shape in alternation; on CPU, for configs without F"
)


def main(argv: Sequence[str]) -> None:
    """Measures the config of the flags, writes the JSON file and prints the table."""
    del argv
    out = epath.Path(OUT.value)
    if out.is_dir():
        raise ValueError(f"--out={OUT.value} is a folder; name a file in it, such as {OUT.value}/benchmark.json")
    outputs.check_own([out], BY)
    out.parent.mkdir(parents=True, exist_ok=True)
    peer = torch_peer.make_torch(CONFIG.value) if TORCH.value else None
    results = measurement.measure(CONFIG.value, REPEATS.value, peer)
    print(report.table(results))
    outputs.write_json(out, results, BY)
    print(f"All figures: {out}")


if __name__ == "__main__":
    launch.run(main)
