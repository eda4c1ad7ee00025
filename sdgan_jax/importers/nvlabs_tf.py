"""Reader of pickles of NVlabs stylegan2 in TensorFlow (`.pkl`).

The file is a tuple (G, D, Gs) of `dnnlib.tflib.network.Network` records. Their state contains `variables`, a list of
pairs of name and array, and `components`, the networks inside. Apart from the names, three things differ from PyTorch:
kernels are HWIO, those of up-sampling convolutions are rotated by 180°, and the biases of modulation are stored minus
their initial value 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sdgan_jax.importers import arrays as arrays_lib
from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Format, Parts
from sdgan_jax.importers.layouts import Table
from sdgan_jax.importers.pickles import Call, FileError, printable

UNUSED = ("lod",)  # level of detail of progressive growing, which StyleGAN2 does not use
# Arguments that change the networks, with the value that is implemented.
ARGUMENTS_G = {"architecture": "skip", "nonlinearity": "lrelu", "mapping_nonlinearity": "lrelu"}
ARGUMENTS_D = {"architecture": "resnet", "nonlinearity": "lrelu", "mbstd_num_features": 1}


def generator(resolution: int, mapping_layers: int, label_dim: int = 0) -> Table:
    """Returns the table of a generator; the conditional form is not supported."""
    del label_dim
    table: Table = {}
    for index in range(mapping_layers):
        table |= layouts.biased(f"ema_g/mapping/dense_{index}", f"mapping/Dense{index}/", layouts.SAME)

    def modulated(path: str, key: str, kernel: layouts.Layout) -> Table:
        return {
            f"{path}/conv/kernel": (f"{key}/weight", kernel),
            f"{path}/conv/affine/kernel": (f"{key}/mod_weight", layouts.SAME),
            f"{path}/conv/affine/bias": (f"{key}/mod_bias", layouts.PLUS_ONE),
            f"{path}/bias": (f"{key}/bias", layouts.SAME),
        }

    def styled(name: str, key: str, noise: int, kernel: layouts.Layout = layouts.SAME) -> Table:
        return modulated(f"ema_g/synthesis/{name}", key, kernel) | {
            f"ema_g/synthesis/{name}/noise_strength": (f"{key}/noise_strength", layouts.SAME),
            f"buffers_g/synthesis/{name}/noise": (f"synthesis/noise{noise}", layouts.NCHW_MAP),
        }

    table["ema_g/synthesis/const"] = ("synthesis/4x4/Const/const", layouts.NCHW)
    table |= styled("conv_4", "synthesis/4x4/Conv", 0)
    for index in range(resolution.bit_length() - 2):
        size = 4 << index
        key = f"synthesis/{size}x{size}"
        if size > 4:
            table |= styled(f"conv_{size}_up", f"{key}/Conv0_up", 2 * index - 1, layouts.FLIPPED)
            table |= styled(f"conv_{size}", f"{key}/Conv1", 2 * index)
        table |= modulated(f"ema_g/synthesis/rgb_{size}", f"{key}/ToRGB", layouts.SAME)
    return table


def discriminator(resolution: int, label_dim: int = 0) -> Table:
    """Returns the table of a discriminator; the conditional form is not supported."""
    del label_dim
    table = layouts.biased("params_d/from_rgb", f"{resolution}x{resolution}/FromRGB/", layouts.SAME)
    for index in range(1, resolution.bit_length() - 2):
        size = resolution >> (index - 1)
        path, key = f"params_d/block_{size // 2}", f"{size}x{size}"
        table |= layouts.biased(f"{path}/conv_0", f"{key}/Conv0/", layouts.SAME)
        table |= layouts.biased(f"{path}/conv_1", f"{key}/Conv1_down/", layouts.SAME)
        table[f"{path}/skip/kernel"] = (f"{key}/Skip/weight", layouts.SAME)
    table |= layouts.biased("params_d/conv_4", "4x4/Conv/", layouts.SAME)
    table |= layouts.biased("params_d/dense", "4x4/Dense0/", layouts.FLAT_ROWS)
    return table | layouts.biased("params_d/realness", "Output/", layouts.SAME)


FORMAT = Format(generator, discriminator)


def read(saved: Any, source: str) -> Parts:
    """Reads the networks from the records of a file.

    Args:
        saved: the tuple (G, D, Gs) from `pickles.read`.
        source: name of the file in messages.

    Returns:
        Gs, D and the average w.

    Raises:
        FileError: a network is not a StyleGAN2, or has a form that is not implemented.
    """
    _, net_d, net_g = (_state(source, network) for network in saved)
    arguments_g, arguments_d = (arrays_lib.as_dict(net.get("static_kwargs")) or {} for net in (net_g, net_d))
    state_g, state_d = _variables(source, net_g), _variables(source, net_d)
    if any("Label" in key or key.startswith("Mapping") for key in [*state_g, *state_d]):
        raise FileError(f"{source} is a conditional network of TensorFlow; those are read from PyTorch pickles only")
    _check(source, arguments_g, ARGUMENTS_G)
    _check(source, arguments_d, ARGUMENTS_D)
    found = parts_of(state_g, state_d)
    found.options_g = {
        "mapping_lr_mul": arrays_lib.number(arguments_g.get("mapping_lrmul"), source, 0.01),
        "conv_clamp": arrays_lib.number(arguments_g.get("conv_clamp"), source, 0.0),
    }
    found.options_d = {
        "mbstd_group": int(arrays_lib.number(arguments_d.get("mbstd_group_size"), source, 4)),
        "conv_clamp": arrays_lib.number(arguments_d.get("conv_clamp"), source, 0.0),
    }
    return found


def parts_of(state_g: Mapping[str, np.ndarray], state_d: Mapping[str, np.ndarray] | None) -> Parts:
    """Returns the networks of two dicts of variables, for `assembly.assemble`.

    Args:
        state_g: variables of a generator; the name of a component and "/" precede the names of its variables.
        state_d: variables of a discriminator, or None.
    """
    state_g = {key: array for key, array in state_g.items() if key.rpartition("/")[2] not in UNUSED}
    w_avg = state_g.pop("dlatent_avg", None)
    if state_d is not None:
        state_d = {key: array for key, array in state_d.items() if key not in UNUSED}
    resolution = layouts.last_number(r"synthesis/(\d+)x\d+/.*", state_g)
    layers = layouts.last_number(r"mapping/Dense(\d+)/weight", state_g) + 1
    return Parts(resolution, min(max(layers, 1), 64), state_g, state_d, w_avg)


def _state(source: str, network: Any) -> dict[Any, Any]:
    """Returns the state of a pickled network."""
    state = network.state if isinstance(network, Call) and network.name.name == "Network" else None
    if not isinstance(state, dict):
        raise FileError(f"{source} is damaged: a network of TensorFlow is missing")
    return state


def _variables(source: str, state: dict[Any, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of a network and of its components."""
    found = dict(_own(source, state))
    for name, component in (arrays_lib.as_dict(state.get("components")) or {}).items():
        found |= {f"{name}/{key}": array for key, array in _own(source, _state(source, component))}
    return found


def _own(source: str, state: dict[Any, Any]) -> list[tuple[str, np.ndarray]]:
    """Returns names and arrays of a network without its components."""
    variables = state.get("variables")
    found = []
    for pair in variables if isinstance(variables, list) else []:
        name, value = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
        array = arrays_lib.decode(value, source)
        if not isinstance(name, str) or array is None:
            raise FileError(f"{source} is damaged: a variable of a network is not an array")
        found.append((name, array))
    return found


def _check(source: str, arguments: Mapping[Any, Any], known: Mapping[str, Any]) -> None:
    """Raises `FileError` for forms of the networks that are not implemented."""
    for name, value in known.items():
        given = arguments.get(name, value)
        if given != value:
            raise FileError(f"{source}: {name} is {printable(given, 20)!r}; only {value!r} can be read")
    kernel = arguments.get("resample_kernel", [1, 3, 3, 1])
    if kernel not in (None, [1, 3, 3, 1], (1, 3, 3, 1)):
        raise FileError(f"{source}: its resampling filter is not [1,3,3,1]; no other is supported")
