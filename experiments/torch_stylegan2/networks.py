"""StyleGAN2's networks (Karras et al. 2020) in torch's own layers.

They follow the public implementations: grouped convolution for the modulated weights of a batch, `conv_transpose2d` and
`conv2d` of stride 2 beside the FIR filter as a depthwise convolution. With the same weights they agree with
`sdgan_jax.nets` to rounding. Modules have the same names there; `kernel` is called `weight` here. Images are NCHW.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from sdgan_jax.config import Config, GeneratorConfig
from sdgan_jax.nets.layers import channels_at

_FIR = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64.0


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to write the same arithmetic.

    Attributes:
        grouped: modulate the weights of each sample and convolve it as one group of a grouped convolution; otherwise
            scale the input and the output of one convolution for all samples.
        channels_last: store activations as NHWC.
    """

    grouped: bool
    channels_last: bool = False


FORMS = {
    "grouped convolution": Form(grouped=True),
    "scaled activations": Form(grouped=False),
    "scaled activations, channels last": Form(grouped=False, channels_last=True),
}


def leaky_relu(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU of slope 0.2 with gain sqrt(2)."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2.0)


def _filter(x: torch.Tensor, padding: int, gain: float = 1.0, stride: int = 1, up: bool = False) -> torch.Tensor:
    """Applies the FIR filter to each channel of f32[N,C,H,W]; when `up`, as a transposed filter of stride 2."""
    kernel = (gain * _FIR).expand(x.shape[1], 1, -1, -1)
    if up:
        return F.conv_transpose2d(x, kernel, stride=2, padding=padding, groups=x.shape[1])
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])


class Dense(nn.Module):
    """Dense layer with equalised learning rate."""

    def __init__(
        self, inputs: int, features: int, lr_mul: float = 1.0, bias_init: float = 0.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((features,), bias_init / lr_mul))
        self.lr_mul, self.scale, self.activate = lr_mul, lr_mul / math.sqrt(inputs), activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return leaky_relu(x) if self.activate else x


class Conv(nn.Module):
    """Convolution with equalised learning rate; filtered and of stride 2 when `down`."""

    def __init__(
        self, inputs: int, features: int, size: int = 3, down: bool = False, bias: bool = True, activate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None
        self.size, self.down, self.activate = size, down, activate
        self.scale = 1.0 / math.sqrt(inputs * size * size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight * self.scale
        if not self.down:
            x = F.conv2d(x, weight, self.bias, padding=self.size // 2)
        elif self.size == 1:
            x = F.conv2d(_filter(x, padding=1, stride=2), weight, self.bias)
        else:
            x = F.conv2d(_filter(x, padding=2), weight, self.bias, stride=2)
        return leaky_relu(x) if self.activate else x


class ModulatedConv(nn.Module):
    """Convolution whose weights are scaled by a style of each sample, and normalised when `demodulate`."""

    def __init__(
        self, inputs: int, features: int, dim: int, form: Form, size: int = 3, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs, size, size))
        self.affine = Dense(dim, inputs, bias_init=1.0)
        self.form, self.size, self.up, self.demodulate = form, size, up, demodulate
        self.scale = 1.0 / math.sqrt(inputs * size * size)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        style, weight = self.affine(w), self.weight * self.scale  # [N,I], [O,I,k,k]
        return self._grouped(x, style, weight) if self.form.grouped else self._scaled(x, style, weight)

    def _grouped(self, x: torch.Tensor, style: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        count, inputs, height, width = x.shape
        features, size = weight.shape[0], self.size
        weights = weight[None] * style[:, None, :, None, None]  # [N,O,I,k,k]
        if self.demodulate:
            weights = weights * torch.rsqrt(weights.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, count * inputs, height, width)
        if self.up:
            weights = weights.transpose(1, 2).reshape(count * inputs, features, size, size)
            x = F.conv_transpose2d(x, weights, stride=2, groups=count)
        else:
            weights = weights.reshape(count * features, inputs, size, size)
            x = F.conv2d(x, weights, padding=size // 2, groups=count)
        x = x.reshape(count, features, *x.shape[2:])
        return _filter(x, padding=1, gain=4.0) if self.up else x

    def _scaled(self, x: torch.Tensor, style: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        x = x * style[:, :, None, None]
        if self.up:
            x = _filter(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=self.size // 2)
        if self.demodulate:
            power = style.square() @ weight.square().sum((2, 3)).T  # [N,O]
            x = x * torch.rsqrt(power + 1e-8)[:, :, None, None]
        return x


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    def __init__(self, inputs: int, features: int, dim: int, form: Form, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, features, dim, form, up=up)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """Computes the layer; noise is f32[N or 1,1,H',W'], or None for a new draw."""
        x = self.conv(x, w)
        if noise is None:
            noise = torch.randn(x.shape[0], 1, *x.shape[2:])
        return leaky_relu(x + self.noise_strength * noise + self.bias[:, None, None])


class ToRGB(nn.Module):
    """1×1 modulated convolution to RGB."""

    def __init__(self, inputs: int, dim: int, form: Form) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, dim, form, size=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return self.conv(x, w) + self.bias[:, None, None]


class Mapping(nn.Module):
    """Mapping network from z f32[N,D] to w f32[N,D]."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        dim, self.layers = config.latent_dim, config.mapping_layers
        for index in range(self.layers):
            self.add_module(f"dense_{index}", Dense(dim, dim, lr_mul=config.mapping_lr_mul, activate=True))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for index in range(self.layers):
            x = self.get_submodule(f"dense_{index}")(x)
        return x


class Synthesis(nn.Module):
    """Synthesis network from w+ f32[N,L,D] to images f32[N,3,R,R]."""

    def __init__(self, config: GeneratorConfig, resolution: int, form: Form) -> None:
        super().__init__()
        self.sizes = [4 << block for block in range(resolution.bit_length() - 2)]
        self.form, dim = form, config.latent_dim
        width = {size: channels_at(size, config.channel_base, config.channel_max) for size in self.sizes}
        self.const = nn.Parameter(torch.randn(width[4], 4, 4))
        for size in self.sizes:
            if size > 4:
                self.add_module(f"conv_{size}_up", StyledConv(width[size // 2], width[size], dim, form, up=True))
            self.add_module(f"conv_{size}", StyledConv(width[size], width[size], dim, form))
            self.add_module(f"rgb_{size}", ToRGB(width[size], dim, form))

    def forward(self, w_plus: torch.Tensor, noises: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Generates images; `noises` holds one array for each styled convolution, or is None for new draws."""
        given = iter(noises or [])
        x = self.const.expand(w_plus.shape[0], -1, -1, -1)
        if self.form.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        rgb = torch.zeros(())
        for size in self.sizes:
            layer = max(0, 2 * self.sizes.index(size) - 1)
            if size > 4:
                x = self.get_submodule(f"conv_{size}_up")(x, w_plus[:, layer], next(given, None))
                rgb, layer = _filter(rgb, padding=1, gain=4.0, up=True), layer + 1
            x = self.get_submodule(f"conv_{size}")(x, w_plus[:, layer], next(given, None))
            rgb = rgb + self.get_submodule(f"rgb_{size}")(x, w_plus[:, layer + 1])
        return rgb


class Generator(nn.Module):
    """Mapping and synthesis network."""

    def __init__(self, config: Config, form: Form) -> None:
        super().__init__()
        self.mapping = Mapping(config.generator)
        self.synthesis = Synthesis(config.generator, config.resolution, form)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the second of which halves the sides, and a 1×1 skip; their sum divided by sqrt(2)."""

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.conv_0 = Conv(inputs, inputs)
        self.conv_1 = Conv(inputs, features, down=True)
        self.skip = Conv(inputs, features, size=1, down=True, bias=False, activate=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv_1(self.conv_0(x)) + self.skip(x)) / math.sqrt(2.0)


class Discriminator(nn.Module):
    """Discriminator from images f32[N,3,R,R] to realness logits f32[N]."""

    def __init__(self, config: Config, form: Form) -> None:
        super().__init__()
        settings, self.form, self.resolution = config.discriminator, form, config.resolution
        sizes = [4 << block for block in range(config.resolution.bit_length() - 2)]
        width = {size: channels_at(size, settings.channel_base, settings.channel_max) for size in sizes}
        self.from_rgb = Conv(3, width[config.resolution], size=1)
        for size in sizes[:-1]:
            self.add_module(f"block_{size}", ResidualBlock(width[2 * size], width[size]))
        self.conv_4 = Conv(width[4] + 1, width[4])
        self.dense = Dense(width[4] * 16, width[4], activate=True)
        self.realness = Dense(width[4], 1)
        self.group = settings.mbstd_group

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.form.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        x, size = self.from_rgb(images), self.resolution
        while size > 4:
            size //= 2
            x = self.get_submodule(f"block_{size}")(x)
        count = x.shape[0]
        group = max(size for size in range(1, min(self.group, count) + 1) if count % size == 0)
        deviation = x.reshape(group, -1, *x.shape[1:]).var(0, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3))
        x = torch.cat((x, deviation.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)), 1)
        return self.realness(self.dense(self.conv_4(x).flatten(1)))[:, 0]
