"""Measures speed and memory of a config's training step, part by part, and against what the machine can do.

python -m experiments.benchmark --out=FILE.json                                       (StyleGAN2 at 64×64, full width)
python -m experiments.benchmark --config=experiments/configs/faces256.py --out=FILE.json
python -m experiments.benchmark --torch --out=FILE.json                               (beside the same in PyTorch)

Any preset and any override can be measured: --config.resolution, --config.generator.channel_max, --config.batch_size,
--config.generator.low_precision_blocks. Measure on a machine that does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from absl import flags
from etils import epath

from experiments import launch, presets
from sdgan_jax import outputs
from sdgan_jax.benchmark import measurement, report
from sdgan_jax.config import Config

BY = f"{outputs.MADE_BY} benchmark"
CONFIG = presets.define_config("benchmark64")
OUT = launch.define_path("out", None, "JSON file for all that was measured", required=True)
REPEATS = flags.DEFINE_integer("repeats", 5, "rounds; each measures every part once", lower_bound=1)
TORCH = flags.DEFINE_bool(
    "torch", False, "measure a plain PyTorch StyleGAN2 of the same shape in alternation; on CPU, for configs without F"
)


def main(argv: Sequence[str]) -> None:
    """Measures what the flags name, writes the JSON, prints the table."""
    del argv
    out = epath.Path(OUT.value)
    if out.is_dir():
        raise ValueError(f"--out={OUT.value} is a folder; name a file in it, such as {OUT.value}/benchmark.json")
    outputs.check_own([out], BY)
    out.parent.mkdir(parents=True, exist_ok=True)
    peer = make_torch(CONFIG.value) if TORCH.value else None
    results = measurement.measure(CONFIG.value, REPEATS.value, peer)
    print(report.table(results))
    outputs.write_json(out, results, BY)
    print(f"All figures: {out}")


def make_torch(config: Config) -> measurement.Peer:
    """The faster of the PyTorch forms, on as many cores as ours may use.

    Raises:
        ValueError: PyTorch is missing, or cannot do what the config asks for.
    """
    if jax.default_backend() != "cpu":
        raise ValueError("--torch compares on CPU; start with JAX_PLATFORMS=cpu")
    try:
        from experiments.torch_stylegan2 import training
    except ModuleNotFoundError as error:
        raise ValueError(f"--torch needs PyTorch ({error}): pip install -e '.[convert]'") from error
    training.check(config)
    return training.fastest(config, measurement.count_cores())


if __name__ == "__main__":
    launch.run(main)
