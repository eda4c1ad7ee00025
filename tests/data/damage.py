"""Damage to prepared data sets."""

import pathlib

from sdgan_jax.data import stream


def flip_bits(config, records):
    """Flips a bit in the image of some records of the training split, in place."""
    images = [stream.Examples(config, "train").source[record]["image"] for record in records]
    (file,) = pathlib.Path(config.data_dir).rglob(f"{config.dataset}-train.array_record*")
    whole = file.read_bytes()
    bits = bytearray(whole)
    for image in images:
        bits[whole.index(image[8:]) + len(image) // 2] ^= 4  # the first 8 bytes are those of every PNG
    file.write_bytes(bits)
