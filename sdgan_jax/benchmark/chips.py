"""Published figures of TPU chips, and the times that follow from them.

Sources: docs.cloud.google.com/tpu/docs/v4, v5e, v5p and v6e, "Key specifications", read in November 2026.
"""

from __future__ import annotations

import dataclasses

HOP_SECONDS = 1e-6  # assumed time from a chip to its neighbour, without the bytes


@dataclasses.dataclass(frozen=True)
class Chip:
    """Figures of one chip.

    Attributes:
        name: as in the names of topologies.
        flops: FLOP/s in bfloat16. XLA multiplies float32 in bfloat16 on a TPU, except where "highest" is asked for.
        hbm_bytes: capacity of its memory. The compiler keeps some of it: 0.25 GiB of 16 on v5e.
        hbm_bandwidth: bytes/s of its memory.
        link: bytes/s of one link to a neighbour in one direction: the bidirectional bandwidth of the chip, divided by
            its number of links and by two directions.
    """

    name: str
    flops: float
    hbm_bytes: float
    hbm_bandwidth: float
    link: float


CHIPS = {
    chip.name: chip
    for chip in (
        # Its link is not published; all-reduce runs at 1.1 PB/s over 4,096 chips of six links.
        Chip("v4", 275e12, 32 * 2**30, 1200e9, 1.1e15 / 4096 / 6),
        Chip("v5e", 197e12, 16 * 2**30, 819e9, 400e9 / 4 / 2),
        Chip("v5p", 459e12, 95 * 2**30, 2765e9, 1200e9 / 6 / 2),
        Chip("v6e", 918e12, 32 * 2**30, 1638e9, 800e9 / 4 / 2),
    )
}


def chip_of(topology: str) -> Chip:
    """Returns the chip of a topology such as "v5e:2x4".

    Raises:
        ValueError: the chip is none of `CHIPS`.
    """
    name = topology.partition(":")[0]
    if name not in CHIPS:
        raise ValueError(f"topology {topology!r}: the chip must be one of {', '.join(CHIPS)}, as in v5e:2x4")
    return CHIPS[name]


def exchange_seconds(chip: Chip, size: float, devices: int) -> float:
    """Returns the time of an all-reduce of `size` bytes over a ring that runs in both directions.

    Every chip sends 2 (n - 1) / n of the bytes (Patarasuk & Yuan 2009), half of them each way, in 2 (n - 1) hops. Every
    grid with an even side has such a ring. Links beyond those of the ring are not counted, so real pods, which reduce
    along all axes at once, can be faster.
    """
    if devices == 1:
        return 0.0
    return 2 * (devices - 1) / devices * size / (2 * chip.link) + 2 * (devices - 1) * HOP_SECONDS
