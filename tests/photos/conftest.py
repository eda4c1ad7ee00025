"""Fixtures that the tests of commands on photos share."""

import pytest

from sdgan_jax import pictures


@pytest.fixture
def a_png_denied(monkeypatch):
    """Denies that a.png is written, as a folder without permission does."""
    true = pictures.write_png

    def write(path, *arguments, **options):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        true(path, *arguments, **options)

    monkeypatch.setattr(pictures, "write_png", write)
