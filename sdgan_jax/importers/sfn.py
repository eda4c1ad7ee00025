"""Reader of the Semantic_Fusion_Network of SD-GAN's official release (MontaEllis/SD-GAN).

The file is a dict whose `model` is a state dict, usually with `module.` in front of its keys. Widths follow from the
shapes of the arrays. Source of the names: the golden file `tests/golden/sdgan_sfn.npz`. Arrays without an effect are
left out: the dense layers of ACE for regions that a face does not have, the noise of ACE, and biases that a
normalisation removes.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Network
from sdgan_jax.importers.layouts import CONV, DENSE, SCALAR, Layout, Table
from sdgan_jax.importers.pickles import FileError
from sdgan_jax.nets.fusion_layers import EPSILON
from sdgan_jax.nets.sfn import REGIONS, OfficialFusion, Settings

STATISTICS = "statistics/"  # prefix of the mean and the variance of a batch normalisation, until they are folded


def _equalised(layout: Layout, fan_in: Callable[[np.ndarray], int]) -> Layout:
    """Returns the layout of a kernel that `nets.layers` stores times sqrt(fan_in); `fan_in` takes our array."""

    def gain(ours: np.ndarray) -> np.float32:
        return np.float32(math.sqrt(fan_in(ours)))

    def read(x: np.ndarray) -> np.ndarray:
        ours = layout.read(x)
        return ours * gain(ours)

    return Layout(read, lambda x: layout.write(x / gain(x)))


def _all_but_last(ours: np.ndarray) -> int:
    return math.prod(ours.shape[:-1])


_CONV = _equalised(CONV, _all_but_last)  # OIHW; ours HWIO
_ADJOINT = _equalised(CONV, lambda ours: 9 * ours.shape[3])  # transposed, [in,out,3,3]; ours [3,3,out,in]
_DENSE = _equalised(DENSE, _all_but_last)
# Locally connected: [1,out,in,positions,1]; ours [positions,in,out].
_LOCAL = _equalised(
    Layout(lambda x: x[0, ..., 0].transpose(2, 1, 0), lambda x: x.transpose(2, 1, 0)[None, ..., None]),
    lambda ours: ours.shape[1],
)
_COLUMN = Layout(lambda x: x[:, None], lambda x: x[:, 0])  # [L]; ours [L,1]


def is_sfn(keys: Iterable[str]) -> bool:
    """Returns whether the keys of a state dict are those of a Semantic_Fusion_Network."""
    return {"arcfacenet.conv1.weight", "fusion.blending_gamma", "regre.tree_connect_1.0.weight"} <= set(
        map(layouts.own_name, keys)
    )


def network_of(state: Mapping[str, np.ndarray], source: str = "the state dict") -> Network:
    """Returns the network ready for `pretrained.write`; see `variables_of`."""
    settings, variables = variables_of(state, source)
    description = f"official fusion network of {settings.resolution} pixels, {settings.num_layers} layers"
    return Network("sfn", dataclasses.asdict(settings), variables, description)


def variables_of(state: Mapping[str, np.ndarray], source: str = "the state dict") -> tuple[Settings, dict[str, Any]]:
    """Returns settings and variables of the network of a state dict.

    Args:
        state: the arrays by key, with or without `module.` in front.
        source: name of the file in messages.

    Returns:
        The settings of `nets.sfn.OfficialFusion` and its variables, f32. Each batch normalisation is folded into the
        scale and shift that it applies in evaluation.

    Raises:
        FileError: an array is missing, unexpected, of another shape, or not finite; the first few are named.
    """
    state = {key: array for key, array in layouts.unwrapped(state, source).items() if not _is_dead(key)}
    settings = _settings(state)
    images = jnp.zeros((1, settings.resolution, settings.resolution, 3))
    shapes = jax.eval_shape(OfficialFusion(settings).init, jax.random.key(0), images, images, jnp.zeros((1, 16, 16, 9)))
    flat = layouts.shapes_of(shapes)
    names = table(path for path in flat if path.endswith("shortcut/kernel"))
    for path in names:
        if path.startswith(STATISTICS):
            flat[path] = flat[f"params/{path.removeprefix(STATISTICS).rpartition('/')[0]}/scale"]
    ours = layouts.take(source, "the network", state, names, flat, kind="a Semantic_Fusion_Network of SD-GAN")
    return settings, flax.traverse_util.unflatten_dict(_fold(ours, source), sep="/")


def table(shortcuts: Iterable[str]) -> Table:
    """Returns the names of the arrays by path: `params/…`, and `statistics/…` of the batch normalisations.

    Args:
        shortcuts: paths of the kernels in shortcuts.
    """
    names = _trunk("face", "arcfacenet", 3) | _trunk("template", "masknet", 2)
    names["params/face/input_prelu/slope"] = ("arcfacenet.prelu.weight", SCALAR)
    for path in shortcuts:
        trunk, block = path.split("/")[1:3]
        key = f"{_key(trunk, block)}.downsample"
        names[path] = (f"{key}.0.weight", _CONV)
        names |= _norm(f"{trunk}/{block}/shortcut_norm", f"{key}.1")
    for name, index in (("input/conv", 1), ("down_0", 4), ("down_1", 7), ("up", 10)):
        names[f"params/style/{name}/kernel"] = (f"encoder.model.{index}.weight", _ADJOINT if name == "up" else _CONV)
    names |= layouts.biased("params/style/output/conv", "encoder.model.14.", _CONV)
    for region in range(REGIONS):
        names |= layouts.biased(f"params/fuse/code_{region}", f"fusion.fc_mu{region}.", _DENSE)
    path = "params/fuse/modulation"
    names |= layouts.biased(f"{path}/shared", "fusion.Spade.mlp_shared.0.", _CONV)
    for name in ("gamma", "beta"):
        names[f"{path}/{name}_blend"] = (f"fusion.blending_{name}", SCALAR)
        names |= layouts.biased(f"{path}/{name}_codes", f"fusion.conv_{name}.", _CONV)
        names |= layouts.biased(f"{path}/{name}_face", f"fusion.Spade.mlp_{name}.", _CONV)
    return names | {
        "params/regressor/local/kernel": ("regre.tree_connect_1.0.weight", _LOCAL),
        "params/regressor/layers/kernel": ("regre.tree_connect_2.0.weight", _LOCAL),
        "params/regressor/scale": ("regre.in3.weight", _COLUMN),
        "params/regressor/bias": ("regre.in3.bias", _COLUMN),
    }


def _trunk(trunk: str, key: str, norms: int) -> Table:
    """Returns the rows of a trunk (four stages of two blocks) without shortcuts; blocks of 3 norms have excitation."""
    names = {f"params/{trunk}/input/kernel": (f"{key}.conv1.weight", _CONV)} | _norm(
        f"{trunk}/input_norm", f"{key}.bn1"
    )
    for block in (f"block_{stage}_{index}" for stage in range(4) for index in range(2)):
        path, key = f"{trunk}/{block}", _key(trunk, block)
        names |= {f"params/{path}/conv_{i}/kernel": (f"{key}.conv{i + 1}.weight", _CONV) for i in range(2)}
        for index in range(norms):
            names |= _norm(f"{path}/norm_{index}", f"{key}.bn{index + 3 - norms}")
        if norms == 3:
            names |= layouts.biased(f"params/{path}/excitation/squeeze", f"{key}.se.fc.0.", _DENSE)
            names |= layouts.biased(f"params/{path}/excitation/excite", f"{key}.se.fc.2.", _DENSE)
            names[f"params/{path}/excitation/prelu/slope"] = (f"{key}.se.fc.1.weight", SCALAR)
            names[f"params/{path}/prelu/slope"] = (f"{key}.prelu.weight", SCALAR)
    return names


def _key(trunk: str, block: str) -> str:
    """Returns the release's name for a block such as "block_0_1"."""
    _, stage, index = block.split("_")
    return f"{({'face': 'arcfacenet', 'template': 'masknet'})[trunk]}.layer{int(stage) + 1}.{index}"


def _norm(path: str, key: str) -> Table:
    """Returns the rows of a batch normalisation that is to be folded."""
    return layouts.batch_norm(path, key, STATISTICS)


def _is_dead(key: str) -> bool:
    """Returns whether an array has no effect on the output."""
    unused = re.fullmatch(r"fusion\.fc_mu(\d{1,6})\.(weight|bias)", key)
    levelled = re.fullmatch(r"encoder\.model\.(1|4|7|10)\.bias", key)
    others = key.endswith(".num_batches_tracked") or key == "fusion.noise_var"
    return others or bool(levelled) or bool(unused and int(unused[1]) >= REGIONS)


def _settings(state: Mapping[str, np.ndarray]) -> Settings:
    """Derives the settings from the shapes; for a missing array, the release's sizes are used (`take` reports it)."""

    def size(key: str, axis: int, rank: int, otherwise: int) -> int:
        array = state.get(key)
        return array.shape[axis] if array is not None and array.ndim == rank and all(array.shape) else otherwise

    release = Settings()
    positions = size("regre.tree_connect_1.0.weight", 3, 5, (release.resolution // 16) ** 2)
    return Settings(
        widths=tuple(size(f"arcfacenet.layer{i + 1}.0.conv2.weight", 0, 4, release.widths[i]) for i in range(4)),
        style_widths=tuple(
            size(f"encoder.model.{index}.weight", 1 if index == 10 else 0, 4, release.style_widths[i])
            for i, index in enumerate((1, 4, 7, 10))
        ),
        resolution=16 * math.isqrt(positions),
        num_layers=size("regre.in3.weight", 0, 1, release.num_layers),
    )


def _fold(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Returns the parameters, with (x - mean) / sqrt(var + ε) · scale + bias folded into one scale and one bias."""
    params = {path: array for path, array in arrays.items() if not path.startswith(STATISTICS)}
    for path in (path for path in arrays if path.startswith(STATISTICS) and path.endswith("/var")):
        name = path.removeprefix(STATISTICS).removesuffix("/var")
        if arrays[path].min() < 0:
            raise FileError(f"{source}: the network has a negative variance ({name})")
        scale = params[f"params/{name}/scale"] / np.sqrt(arrays[path].astype(np.float64) + EPSILON)
        bias = params[f"params/{name}/bias"] - arrays[f"{STATISTICS}{name}/mean"] * scale
        params |= {f"params/{name}/scale": scale.astype(np.float32), f"params/{name}/bias": bias.astype(np.float32)}
    return params
