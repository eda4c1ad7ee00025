"""Independent implementations that the slow tests compare with, where they are installed."""

import importlib

import pytest

from tests.nets import torch_packages


def load(module):
    """Returns a module; skips the test where its package, or something that it imports, is missing."""
    torch_packages.load(module.partition(".")[0])
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} cannot be imported: {error}")
