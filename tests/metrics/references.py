"""Independent implementations that the slow tests compare with, where they are installed."""

import importlib

import pytest


def load(module):
    """Returns a module; skips the test where it is missing, or lies beside a torch that it was not built for."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, AttributeError) as error:
        pytest.skip(f"{module} cannot be used: {error}")
