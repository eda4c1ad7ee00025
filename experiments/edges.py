"""Fits the filter of edges by which photos are searched for places where faces may be, see `face3d.proposals`.

python -m experiments.edges --out=runs/edges [--faces=3000]

The faces are varied ones, as of megn/varied_64. Takes a minute on one CPU core. The same number of faces gives the same
filter; that of 3,000 comes with the project, in sdgan_jax/weights/edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tqdm
from absl import flags

import tfds_megn
from experiments import launch
from sdgan_jax.face3d import proposals
from sdgan_jax.pretrained import edges
from tfds_megn import varied

OUT = launch.define_path("out", None, "network directory", required=True)
FACES = flags.DEFINE_integer("faces", 3000, "number of faces", lower_bound=600)
_SIZE = 64  # pixels along a side of a picture


def main(argv: Sequence[str]) -> None:
    """Draws the faces, fits the filter and writes it."""
    del argv
    if edges.exists(OUT.value):
        raise ValueError(f"{OUT.value} contains a network already; give another --out")
    images, boxes = [], []
    for person in tqdm.trange(FACES.value, unit="face", desc="drawing"):
        params = varied.sample_params(person)
        images.append(tfds_megn.render(params, tfds_megn.ATTRIBUTES[person % len(tfds_megn.ATTRIBUTES)], _SIZE))
        points = tfds_megn.landmarks(params, _SIZE)[:, :2]
        boxes.append(np.concatenate([points.min(0), points.max(0)]))
    edges.write_filter(OUT.value, proposals.fit(images, np.array(boxes)))
    print(f"the filter of {FACES.value} faces in {OUT.value}")


if __name__ == "__main__":
    launch.run(main)
