"""Training step of StyleGAN2 (Karras et al. 2020) in plain PyTorch, like its public implementations.

D is updated first, then G, each on newly generated images. R1 and path length are separate updates on the steps where
they are due, and Adam is corrected for them. Nothing is compiled: both regularisers differentiate twice, which
`torch.compile` does not support.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from experiments.torch_stylegan2.networks import FORMS, Discriminator, Generator
from sdgan_jax.config import AdamConfig, Config

# Fields of the config's groups `generator` and `discriminator` that are supported; all others must be the default.
_SIZES = {"latent_dim", "mapping_layers", "mapping_lr_mul", "channel_base", "channel_max", "mbstd_group", "remat"}


def check(config: Config) -> None:
    """Checks that a config uses only supported settings.

    Raises:
        ValueError: a field has an unsupported value.
    """
    required: list[tuple[str, Any, Any]] = [
        ("attributes", config.attributes, ("none",)),
        ("accumulate", config.accumulate, 1),
        ("augment.pipeline", config.augment.pipeline, "none"),
        ("losses.adversarial_kind", config.losses.adversarial_kind, "logistic"),
        ("losses.adversarial", config.losses.adversarial, 1.0),
    ]
    for name in ("generator", "discriminator"):
        group = getattr(config, name)
        required += [
            (f"{name}.{field.name}", getattr(group, field.name), field.default)
            for field in dataclasses.fields(group)
            if field.name not in _SIZES
        ]
    for field, value, plain in required:
        if value != plain:
            raise ValueError(f'--torch compares plain StyleGAN2 in float32: set --config.{field}="{plain}"')


def fastest(config: Config, threads: int) -> Training:
    """Returns the form with the fastest steady step, by the lesser of two times for each part."""
    rates = {"step": 1.0} | {name: 1.0 / every for name, every in config.intervals.items() if every and name != "f"}
    forms = {form: Training(config, form, threads) for form in FORMS}
    least = {form: dict.fromkeys(rates, math.inf) for form in FORMS}
    for form in [*FORMS, *FORMS]:
        for part in rates:
            start = time.perf_counter()
            forms[form].run(part)
            least[form][part] = min(least[form][part], time.perf_counter() - start)
    steady = {form: sum(rate * least[form][part] for part, rate in rates.items()) for form in FORMS}
    print("torch:", ", ".join(f"{form} {seconds:.3g} s a step" for form, seconds in steady.items()), flush=True)
    return forms[min(FORMS, key=steady.__getitem__)]


class Training:
    """Networks, optimisers and updates, on a batch of noise.

    Attributes:
        name: torch's version and the form.
        generator: G.
        discriminator: D.
    """

    def __init__(self, config: Config, form: str, threads: int) -> None:
        """Creates networks with random weights.

        Args:
            config: config that `check` accepts.
            form: key of `FORMS`.
            threads: number of processor cores to use.
        """
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)  # like XLA; Adam's squares of small gradients are denormal
        torch.manual_seed(config.seed)
        self.name, self.config = f"torch {torch.__version__}, {form}", config
        self.generator, self.discriminator = Generator(config, FORMS[form]), Discriminator(config, FORMS[form])
        if FORMS[form].channels_last:
            for weight in [*self.generator.parameters(), *self.discriminator.parameters()]:
                if weight.ndim == 4:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self._average = copy.deepcopy(self.generator).requires_grad_(False)
        self._w_average = torch.zeros(config.generator.latent_dim)
        self._path_average = torch.zeros(())
        self._adam_g = _adam(self.generator, config.adam_g, config.intervals["path_length"])
        self._adam_d = _adam(self.discriminator, config.adam_d, config.intervals["r1"])
        shape = (config.batch_size, 3, config.resolution, config.resolution)
        self._images = torch.randint(0, 256, shape, dtype=torch.uint8)

    def run(self, part: str, calls: int = 1) -> None:
        """Runs a part, such as "d_step" or "step+r1", `calls` times."""
        for _ in range(calls):
            for name in part.split("+"):
                getattr(self, name)()

    def step(self) -> None:
        """Updates D, G, and the averages of G and of w; lazy parts are separate."""
        self.d_step()
        w = self.g_step()
        with torch.no_grad():
            decay = 0.5 ** (self.config.batch_size / (1000.0 * self.config.ema_kimg))
            for average, new in zip(self._average.parameters(), self.generator.parameters(), strict=True):
                average.lerp_(new, 1.0 - decay)
            self._w_average.lerp_(w.mean(0), 1.0 - self.config.w_avg_beta)

    def g_forward(self) -> None:
        """Generates a batch of images."""
        with torch.no_grad():
            self._generate(self.config.batch_size)

    def d_step(self) -> None:
        """Generates images and updates D on them and on the reals."""
        with torch.no_grad():
            fakes = self._generate(self.config.batch_size)[0]
        loss = F.softplus(self.discriminator(fakes)).mean() + F.softplus(-self.discriminator(self._reals())).mean()
        _descend(self._adam_d, loss)

    def r1(self) -> None:
        """Updates D by R1, gamma / 2 · |dD/dx|², times the interval."""
        reals = self._reals().requires_grad_()
        (gradient,) = torch.autograd.grad(self.discriminator(reals).sum(), reals, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3)).mean()
        weights = self.config.losses
        _descend(self._adam_d, 0.5 * weights.r1 * weights.r1_every * penalty)

    def g_step(self) -> torch.Tensor:
        """Generates images and updates G by their logits; returns their w f32[N,D]."""
        fakes, w = self._generate(self.config.batch_size)
        self.discriminator.requires_grad_(False)
        _descend(self._adam_g, F.softplus(-self.discriminator(fakes)).mean())
        self.discriminator.requires_grad_(True)
        return w.detach()

    def path_length(self) -> None:
        """Updates G by the path length penalty on half a batch."""
        weights = self.config.losses
        w_plus = self._latents(max(1, self.config.batch_size // 2))[0]
        images = self.generator.synthesis(w_plus)
        noise = torch.randn_like(images) / self.config.resolution
        (gradient,) = torch.autograd.grad((images * noise).sum(), w_plus, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        self._path_average = self._path_average.lerp(lengths.detach().mean(), weights.path_length_decay)
        penalty = (lengths - self._path_average).square().mean()
        _descend(self._adam_g, weights.path_length * weights.path_length_every * penalty)

    def _reals(self) -> torch.Tensor:
        return self._images.float() / 127.5 - 1.0

    def _generate(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns images f32[N,3,R,R] of random latents, and their w f32[N,D]."""
        w_plus, w = self._latents(count)
        return self.generator.synthesis(w_plus), w

    def _latents(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns random w+ f32[N,L,D], with style mixing at the config's probability, and w f32[N,D]."""
        layers, dim = self.config.num_layers, self.config.generator.latent_dim
        w = self.generator.mapping(torch.randn(count, dim))
        w_plus = w[:, None].expand(-1, layers, -1)
        if self.config.style_mixing:
            other = self.generator.mapping(torch.randn(count, dim))[:, None]
            crossover = torch.randint(1, layers, (count, 1))
            crossover = torch.where(torch.rand(count, 1) < self.config.style_mixing, crossover, layers)
            w_plus = torch.where((torch.arange(layers) < crossover)[:, :, None], w_plus, other)
        return w_plus, w


def _adam(module: nn.Module, settings: AdamConfig, every: int) -> torch.optim.Adam:
    """Returns Adam, corrected for a regulariser every k steps: rate · c and betas ** c with c = k / (k + 1)."""
    correction = every / (every + 1) if every else 1.0
    betas = (settings.beta1**correction, settings.beta2**correction)
    return torch.optim.Adam(module.parameters(), settings.learning_rate * correction, betas, settings.epsilon)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Updates the parameters by the gradient of the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
