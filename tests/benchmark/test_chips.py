"""Times by the published figures of TPU chips."""

import pytest

from sdgan_jax.benchmark import chips


def test_links_are_those_of_the_published_bandwidth_of_a_chip():
    """Two directions of 4 or 6 links, in GB/s: 400 on v5e, 800 on v6e, 1,200 on v5p; v4 has about half of v5p's."""
    gigabytes = {name: round(2 * links * chips.CHIPS[name].link / 1e9) for name, links in {"v5e": 4, "v6e": 4}.items()}
    assert gigabytes == {"v5e": 400, "v6e": 800}
    assert round(12 * chips.CHIPS["v5p"].link / 1e9) == 1200
    assert 0.4 < chips.CHIPS["v4"].link / chips.CHIPS["v5p"].link < 0.5


def test_a_ring_sends_each_byte_almost_twice():
    """A gigabyte on eight v5e: 1.75 GB over two directions of 50 GB/s are 17.5 ms; fourteen hops add 14 µs."""
    chip = chips.chip_of("v5e:2x4")
    assert chips.exchange_seconds(chip, 1e9, 8) == pytest.approx(17.5e-3 + 14e-6)
    assert chips.exchange_seconds(chip, 1e9, 1) == 0.0


def test_a_chip_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="topology 'v9:2x2': the chip must be one of v4, v5e, v5p, v6e"):
        chips.chip_of("v9:2x2")
