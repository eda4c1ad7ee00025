"""State dicts of the networks of metrics under their public names: Inception v3, trunks and heads of LPIPS."""

import numpy as np

from tests.nets import golden

VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # torchvision's numbers of the convolutions
ALEX = (0, 3, 6, 8, 10)


def inception_convolutions():
    """Shape OIHW of each convolution of Inception v3."""
    shapes = {
        "Conv2d_1a_3x3": (32, 3, 3, 3),
        "Conv2d_2a_3x3": (32, 32, 3, 3),
        "Conv2d_2b_3x3": (64, 32, 3, 3),
        "Conv2d_3b_1x1": (80, 64, 1, 1),
        "Conv2d_4a_3x3": (192, 80, 3, 3),
    }

    def add(block, **branches):
        shapes.update({f"{block}.branch{name}": shape for name, shape in branches.items()})

    for block, c, pooled in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        add(block, **{"1x1": (64, c, 1, 1), "5x5_1": (48, c, 1, 1), "5x5_2": (64, 48, 5, 5)})
        add(block, **{"3x3dbl_1": (64, c, 1, 1), "3x3dbl_2": (96, 64, 3, 3), "3x3dbl_3": (96, 96, 3, 3)})
        add(block, _pool=(pooled, c, 1, 1))
    add("Mixed_6a", **{"3x3": (384, 288, 3, 3), "3x3dbl_1": (64, 288, 1, 1)})
    add("Mixed_6a", **{"3x3dbl_2": (96, 64, 3, 3), "3x3dbl_3": (96, 96, 3, 3)})
    for block, d in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        add(block, **{"1x1": (192, 768, 1, 1), "_pool": (192, 768, 1, 1)})
        add(block, **{"7x7_1": (d, 768, 1, 1), "7x7_2": (d, d, 1, 7), "7x7_3": (192, d, 7, 1)})
        add(block, **{"7x7dbl_1": (d, 768, 1, 1), "7x7dbl_2": (d, d, 7, 1), "7x7dbl_3": (d, d, 1, 7)})
        add(block, **{"7x7dbl_4": (d, d, 7, 1), "7x7dbl_5": (192, d, 1, 7)})
    add("Mixed_7a", **{"3x3_1": (192, 768, 1, 1), "3x3_2": (320, 192, 3, 3), "7x7x3_1": (192, 768, 1, 1)})
    add("Mixed_7a", **{"7x7x3_2": (192, 192, 1, 7), "7x7x3_3": (192, 192, 7, 1), "7x7x3_4": (192, 192, 3, 3)})
    for block, c in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        add(block, **{"1x1": (320, c, 1, 1), "3x3_1": (384, c, 1, 1), "3x3dbl_1": (448, c, 1, 1)})
        add(block, **{"3x3dbl_2": (384, 448, 3, 3), "_pool": (192, c, 1, 1)})
        for name in ("3x3_2", "3x3dbl_3"):
            add(block, **{f"{name}a": (384, 384, 1, 3), f"{name}b": (384, 384, 3, 1)})
    return shapes


def inception(classes=1008):
    """The state dict of Inception v3, float32; kernels are scaled so that the numbers neither grow nor vanish."""
    state = {}
    for name, shape in inception_convolutions().items():
        state[f"{name}.conv.weight"] = _kernel(shape)
        state[f"{name}.bn.num_batches_tracked"] = np.zeros((), np.int64)
        for part, kind in (("weight", "affine:1:0.1"), ("bias", "affine:0:0.1"), ("running_mean", "affine:0:0.1")):
            state[f"{name}.bn.{part}"] = golden.make(f"{name}.bn.{part}", shape[:1], kind)
        state[f"{name}.bn.running_var"] = golden.make(f"{name}.bn.running_var", shape[:1], "absvar")
    return state | {"fc.weight": _kernel((classes, 2048)), "fc.bias": golden.draw("fc.bias", (classes,))}


def trunk(layers, widths):
    """The state dict of torchvision's VGG16 (`VGG`, 5 widths) or AlexNet (`ALEX`), with one array of its classifier."""
    counts, sizes = ((2, 2, 3, 3, 3), (3,) * 5) if layers == VGG else ((1,) * 5, (11, 5, 3, 3, 3))
    state, inputs, numbers = {}, 3, iter(layers)
    for count, width, size in zip(counts, widths, sizes, strict=True):
        for number in (next(numbers) for _ in range(count)):
            key, shape = f"features.{number}", (width, inputs, size, size)
            state[f"{key}.weight"] = golden.make(key, shape, f"he:{np.prod(shape[1:])}")
            state[f"{key}.bias"] = golden.make(f"{key}.bias", (width,), "affine:0:0.1")
            inputs = width
    return state | {"classifier.6.bias": np.zeros(3, np.float32)}


def heads(widths):
    """The heads of LPIPS, which are not negative."""
    return {
        f"lin{i}.model.1.weight": np.abs(golden.draw(f"lin{i}", (1, width, 1, 1))) for i, width in enumerate(widths)
    }


def _kernel(shape):
    """A random kernel; drawn from few numbers, because 24 million take a second."""
    count = np.prod(shape)
    few = golden.draw("few", (65521,)) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return np.resize(few, count).reshape(shape)
