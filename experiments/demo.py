"""Serves a page on which faces are drawn, and photos are edited and dressed, in a browser.

python -m experiments.demo [--model=DIR] [--network=DIR] [--port=7860] [--host=127.0.0.1]

The page has three tabs: Generate (faces from random seeds), Photo (faces of an uploaded photo edited with the model, or
dressed in 3D) and Wear (forms, colours and a texture of one's own). It needs Gradio (pip install -e '.[demo]') and no
internet. By default it is reached from this machine only. Uploads are deleted when they have been read; photos and
results are kept in memory, for half an hour after their last use. Programs are compiled in the background after the
start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absl import flags

import sdgan_jax
from experiments import launch
from sdgan_jax.demo import server
from sdgan_jax.demo.limits import Limits
from sdgan_jax.demo.studio import Studio
from sdgan_jax.photos import finders

_USUAL = Limits()
MODEL = launch.define_model()
NETWORK = launch.define_network()
HOST = flags.DEFINE_string("host", "127.0.0.1", "address to listen on; 0.0.0.0 for visitors of the network")
PORT = flags.DEFINE_integer("port", 7860, "port to listen on; 0 for any free one", lower_bound=0, upper_bound=65535)
MEGABYTES = flags.DEFINE_integer(
    "max_megabytes", _USUAL.megabytes, "size of an uploaded file", lower_bound=1, upper_bound=512
)
MEGAPIXELS = flags.DEFINE_integer(
    "max_megapixels", _USUAL.megapixels, "size of an uploaded picture", lower_bound=1, upper_bound=134
)
SECONDS = flags.DEFINE_float("max_seconds", _USUAL.seconds, "time for an answer", lower_bound=1.0)
FACES = flags.DEFINE_integer("max_faces", _USUAL.faces, "faces of a photo that can be changed", lower_bound=1)


def main(argv: Sequence[str]) -> None:
    """Serves the page that the flags describe."""
    del argv
    server.check_installed()
    limits = Limits(MEGABYTES.value, MEGAPIXELS.value, SECONDS.value, FACES.value)
    server.serve(
        Studio(sdgan_jax.load(MODEL.value), finders.read_finder(NETWORK.value), limits), HOST.value, PORT.value
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a computation or compilation may be going on, see `Worker`


if __name__ == "__main__":
    launch.run(main)
