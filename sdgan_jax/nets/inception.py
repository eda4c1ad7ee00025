"""Inception v3 of 2015, the network behind FID, KID and the Inception Score.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, as TensorFlow's graph
`inception-2015-12-05` has it (Heusel et al. 2017): average pooling leaves the padding out of its mean, the last block
pools by the maximum, and the dense layer has 1008 outputs. It differs from torchvision's network of the same name.

Batch normalisations (ε = 0.001) are folded into kernel and bias of the convolutions before them
(`importers.inception`). The forms used here give the same numbers in less time. The 1×1 convolutions of one input are
a single matrix product. An average over pixels is taken after the 1×1 convolution that reduces its channels, as both
are linear. Names of layers are those of the public files in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.nets.module import Module
from sdgan_jax.nets.pooling import average_pool, max_pool

SIZE = 299  # height and width of the images in pixels
FEATURES = 2048
CLASSES = 1008
EPSILON = 1e-3  # added to the variance by the batch normalisations of the public files


class Inception(nn.Module):
    """Inception v3 of 2015, its batch normalisations folded into its convolutions."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Computes features and class scores.

        Args:
            images: f32[N,299,299,3] in [-1,1].

        Returns:
            features f32[N,2048], the last feature map averaged over its pixels (`pool3`); logits f32[N,1008] without
            the bias of the dense layer, as the Inception Score uses them.

        Raises:
            ValueError: images have another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (SIZE, SIZE, 3):
            raise ValueError(f"images must be [N,{SIZE},{SIZE},3], got {list(images.shape)}")
        x = Conv(32, (3, 3), 2, "VALID", name="conv2d_1a_3x3")(images)  # [N,149,149,32]
        x = Conv(32, (3, 3), padding="VALID", name="conv2d_2a_3x3")(x)
        x = max_pool(Conv(64, (3, 3), name="conv2d_2b_3x3")(x))  # [N,73,73,64]
        (x,) = mix(x, {"conv2d_3b_1x1": 80})
        x = max_pool(Conv(192, (3, 3), padding="VALID", name="conv2d_4a_3x3")(x))  # [N,35,35,192]
        x = BlockA(32, name="mixed_5b")(x)
        x = BlockA(64, name="mixed_5c")(x)
        x = BlockA(64, name="mixed_5d")(x)
        x = BlockB(name="mixed_6a")(x)  # [N,17,17,768]
        for name, width in (("mixed_6b", 128), ("mixed_6c", 160), ("mixed_6d", 160), ("mixed_6e", 192)):
            x = BlockC(width, name=name)(x)
        x = BlockD(name="mixed_7a")(x)  # [N,8,8,1280]
        x = BlockE(True, name="mixed_7b")(x)
        x = BlockE(False, name="mixed_7c")(x)  # [N,8,8,2048]
        features = x.mean((1, 2))
        return features, nn.Dense(CLASSES, use_bias=False, name="fc")(features)


class BlockA(nn.Module):
    """Mixed_5b to 5d: 1×1, 5×5, two 3×3 and a pooled branch; [N,H,W,C] to [N,H,W,224 + pooled]."""

    pooled: int  # channels of the pooled branch

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        one, five, three, pooled = mix(
            x, {"branch1x1": 64, "branch5x5_1": 48, "branch3x3dbl_1": 64}, {"branch_pool": self.pooled}
        )
        five = Conv(64, (5, 5), name="branch5x5_2")(five)
        three = Conv(96, (3, 3), name="branch3x3dbl_2")(three)
        three = Conv(96, (3, 3), name="branch3x3dbl_3")(three)
        return jnp.concatenate((one, five, three, pooled), -1)


class BlockB(nn.Module):
    """Mixed_6a, which halves the sides: 3×3, two 3×3 and a pooled branch; [N,H,W,C] to [N,(H-1)/2,(W-1)/2,480 + C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        three = Conv(384, (3, 3), 2, "VALID", name="branch3x3")(x)
        (double,) = mix(x, {"branch3x3dbl_1": 64})
        double = Conv(96, (3, 3), name="branch3x3dbl_2")(double)
        double = Conv(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(double)
        return jnp.concatenate((three, double, max_pool(x)), -1)


class BlockC(nn.Module):
    """Mixed_6b to 6e: 1×1, 7×7 and two 7×7 in factors, and a pooled branch; [N,H,W,C] to [N,H,W,768]."""

    width: int  # channels inside the 7×7 branches

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = self.width
        one, seven, double, pooled = mix(
            x, {"branch1x1": 192, "branch7x7_1": width, "branch7x7dbl_1": width}, {"branch_pool": 192}
        )
        seven = Conv(width, (1, 7), name="branch7x7_2")(seven)
        seven = Conv(192, (7, 1), name="branch7x7_3")(seven)
        for index, size in ((2, (7, 1)), (3, (1, 7)), (4, (7, 1))):
            double = Conv(width, size, name=f"branch7x7dbl_{index}")(double)
        double = Conv(192, (1, 7), name="branch7x7dbl_5")(double)
        return jnp.concatenate((one, seven, double, pooled), -1)


class BlockD(nn.Module):
    """Mixed_7a, which halves the sides: 3×3, 7×7 in factors and a pooled branch; [N,H,W,C] to [N,…,…,512 + C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        three, seven = mix(x, {"branch3x3_1": 192, "branch7x7x3_1": 192})
        three = Conv(320, (3, 3), 2, "VALID", name="branch3x3_2")(three)
        seven = Conv(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = Conv(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = Conv(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(seven)
        return jnp.concatenate((three, seven, max_pool(x)), -1)


class BlockE(nn.Module):
    """Mixed_7b and 7c: 1×1, 3×3 and two 3×3 that end in 1×3 beside 3×1, and a pooled branch; to [N,H,W,2048]."""

    averages: bool  # whether the pooled branch averages; otherwise it takes the maximum

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        widths = {"branch1x1": 320, "branch3x3_1": 384, "branch3x3dbl_1": 448}
        if self.averages:
            one, three, double, pooled = mix(x, widths, {"branch_pool": 192})
        else:
            one, three, double = mix(x, widths)
            (pooled,) = mix(max_pool(x, stride=1, padding=1), {"branch_pool": 192})
        double = Conv(384, (3, 3), name="branch3x3dbl_2")(double)
        outputs = [one]
        for name, y in (("branch3x3_2", three), ("branch3x3dbl_3", double)):
            outputs += [Conv(384, (1, 3), name=f"{name}a")(y), Conv(384, (3, 1), name=f"{name}b")(y)]
        return jnp.concatenate((*outputs, pooled), -1)


class Weights(Module):
    """Kernel [h,w,C,D] and bias [D] of a convolution."""

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", nn.initializers.he_normal(), self.shape)
        return kernel, self.param("bias", nn.initializers.zeros, self.shape[-1:])


class Conv(Module):
    """Convolution with bias and ReLU: [N,H,W,C] to [N,H',W',features]."""

    features: int
    size: tuple[int, int]
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        strides = (self.stride, self.stride)
        # XLA's CPU backend is four times slower at stride 1 without padding: pad, then drop the rim.
        crops = self.padding == "VALID" and self.stride == 1
        padding = "SAME" if crops else self.padding
        x = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        if crops:
            rows, columns = (size // 2 for size in self.size)
            x = x[:, rows : x.shape[1] - rows, columns : x.shape[2] - columns]
        return nn.relu(x + bias)


def mix(x: jax.Array, widths: Mapping[str, int], averaged: Mapping[str, int] = MappingProxyType({})) -> list[jax.Array]:
    """Applies 1×1 convolutions with bias and ReLU to one input, as a single matrix product.

    It is called in a module, whose submodules `Weights` it makes.

    Args:
        x: f32[N,H,W,C].
        widths: number of channels D of each convolution by its name.
        averaged: likewise for convolutions of the averages of 3×3 pixels (`average_pool`).

    Returns:
        f32[N,H,W,D] for each name, in order.
    """
    names = {**widths, **averaged}
    weights = [Weights((1, 1, x.shape[-1], width), name=name)() for name, width in names.items()]
    kernel = jnp.concatenate([kernel[0, 0] for kernel, _ in weights], -1)
    ends = np.cumsum(list(names.values()))[:-1]
    outputs = jnp.split(x @ kernel, ends, -1)
    outputs = [average_pool(y) if name in averaged else y for name, y in zip(names, outputs, strict=True)]
    return [nn.relu(y + bias) for y, (_, bias) in zip(outputs, weights, strict=True)]
