"""Small data sets of pictures that are known by their numbers, and what streams show of them."""

import copy
import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from sdgan_jax.data import stream

NAMES = ("none", "mask", "beard")
TRAIN, VALIDATION = 11, 3


def picture(index, size=8):
    """A picture that is known by its number: red = index, green = row, blue = column."""
    rows, columns = np.mgrid[:size, :size]
    return np.stack([np.full((size, size), index), rows, columns], axis=2).astype(np.uint8)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    file.seek(0)
    return file


class TinyFaces(tfds.core.GeneratorBasedBuilder):
    """Faces of 8 pixels; number i wears nothing, a mask, a beard, or mask and beard, by i % 4."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(NAMES)),
            "attributes": tfds.features.Tensor(shape=(2,), dtype=np.bool_),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, TRAIN), "validation": self._generate_examples(100, VALIDATION)}

    def _generate_examples(self, first, count):
        for i in range(first, first + count):
            mask, beard = i % 4 in (1, 3), i % 4 in (2, 3)
            label = "mask" if mask else "beard" if beard else "none"
            yield i, {"image": png(picture(i)), "label": label, "attributes": [mask, beard]}


class TinyDigits(tfds.core.GeneratorBasedBuilder):
    """Grey pictures of varying size with a label alone, whose order is not the config's."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["one", "zero"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(4):
            yield i, {"image": png(np.full((12 + i, 20), 10 * i, np.uint8)), "label": i % 2}


def channels(name):
    """A stored picture of 8 x 8 pixels and what is to be seen of it, u8[8,8,3], after the PNG specification."""
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype(np.uint8)
    grey, alpha = values[..., :1], values[..., 3:]
    on_white = lambda colour: np.round(colour * (alpha / 255) + 255 * (1 - alpha / 255))  # noqa: E731
    grey16 = np.random.default_rng(0).integers(0, 65536, (8, 8, 1)).astype(np.uint16)
    white = np.full((8, 8, 3), 255)
    if name == "palette":
        image = Image.fromarray(values[..., 0] % 2, "P")
        image.putpalette([10, 20, 30, 200, 100, 50])
        return image, np.where(grey % 2, [200, 100, 50], [10, 20, 30])
    return {
        "grey": (Image.fromarray(values[..., 0]), grey + 0 * white),
        "grey and alpha": (Image.fromarray(values[..., [0, 3]], "LA"), on_white(grey) + 0 * white),
        "rgb": (Image.fromarray(values[..., :3]), values[..., :3]),
        "rgba": (Image.fromarray(values), on_white(values[..., :3])),
        "grey of 16 bits": (Image.fromarray(grey16[..., 0]), np.round(grey16 / 257) + 0 * white),
        "black and white": (Image.fromarray(values[..., 0] > 127), 255 * (grey > 127) + 0 * white),
    }[name]


class TinyKinds(tfds.core.GeneratorBasedBuilder):
    """Six copies of a picture, stored as the config's name says."""

    VERSION = tfds.core.Version("1.0.0")
    KINDS = {
        "grey": (1, np.uint8),
        "grey and alpha": (2, np.uint8),
        "rgb": (3, np.uint8),
        "rgba": (4, np.uint8),
        "palette": (3, np.uint8),
        "black and white": (1, np.uint8),
        "grey of 16 bits": (1, np.uint16),
        "rgba as rgb": (3, np.uint8),
        "float": (1, np.float32),
        "broken": (3, np.uint8),
    }
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name.replace(" ", "_")) for name in KINDS]

    def _info(self):
        depth, dtype = self.KINDS[self.builder_config.name.replace("_", " ")]
        features = {
            "image": tfds.features.Image(shape=(8, 8, depth), dtype=dtype, encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(NAMES)),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        name = self.builder_config.name.replace("_", " ").removesuffix(" as rgb")
        file = io.BytesIO()
        channels("rgb" if name == "broken" else name)[0].save(file, "PNG")
        data = file.getvalue()[: -60 if name == "broken" else None]
        for i in range(6):
            yield i, {"image": io.BytesIO(data), "label": "mask"}


def changed(config, **fields):
    new = copy.deepcopy(config)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def take(config, count, start=0, **process):
    iterator = stream.train_iterator(config, **process)
    iterator.position = start
    batches = [next(iterator) for _ in range(count)]
    iterator.close()
    return batches


def numbers(batches):
    """The pictures' numbers, by their red channel."""
    return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches]).tolist()
