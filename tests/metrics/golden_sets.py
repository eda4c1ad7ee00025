"""The golden file of metrics: two sets of features, and the numbers that other implementations compute of them."""

import json
import pathlib

import numpy as np

_FILE = pathlib.Path(__file__).parents[1] / "golden" / "metrics.npz"


def load():
    """Returns the arrays and the numbers, both by name; see tests/golden/metrics.md."""
    arrays = dict(np.load(_FILE))
    return arrays, json.loads(str(arrays.pop("meta")))["results"]
