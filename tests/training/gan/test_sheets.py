"""Sample sheets: which face stands in which cell."""

import numpy as np
import pytest

from sdgan_jax.networks import make_networks
from sdgan_jax.training.gan import sheets
from tests.training import tiny


@pytest.fixture(scope="module")
def drawn():
    """The sheets of a random model and of the same model with a basis of zero, both with source "latent"."""
    nets = make_networks(tiny.config(latent_space="w", source="latent"))
    state = tiny.random_state(nets.config)
    draw = sheets.make_sheets(nets, None)
    return draw(state), draw(state.replace(basis=np.zeros_like(state.basis)))


def test_the_sheets_have_a_row_per_latent_and_a_column_per_attribute(drawn):
    with_basis, without = (one["x_hat"] for one in drawn)
    assert with_basis.shape == without.shape and with_basis.dtype == np.uint8
    changed = (with_basis != without).any((0, 2))  # per column of pixels
    thirds = np.array_split(changed, 3)
    assert not thirds[0][: len(thirds[0]) * 3 // 4].any()  # `none` does not depend on the basis
    assert thirds[1].any() and thirds[2].any()


def test_the_source_of_an_x_rec_is_the_face_without_attribute(drawn):
    with_basis, without = (one["x_rec"] for one in drawn)
    rows = with_basis.shape[0]
    changed = (with_basis != without).any((1, 2))
    assert changed.any() and not changed[: rows // 16].any()  # the first row of sources does not depend on the basis
