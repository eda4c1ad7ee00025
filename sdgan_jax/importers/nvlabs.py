"""Reader of StyleGAN2 networks in pickles of NVlabs stylegan2-ada-pytorch and stylegan3 (`.pkl`).

The file is a dict with `G`, `D` and `G_ema`. A network, and each module in it, is a record of
`torch_utils.persistence._reconstruct_persistent_obj` whose `state` is the module's `__dict__`; its source code
(`module_src`) is ignored. Conditional networks can be read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sdgan_jax.importers import arrays as arrays_lib
from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Format, Parts
from sdgan_jax.importers.layouts import Table
from sdgan_jax.importers.pickles import Call, FileError, printable

FILTERS = ("resample_filter",)
MAX_MODULES = 5_000  # a network of 1024 pixels has 100
MAX_DEPTH = 8  # levels of nested modules; a network has 4
WHOLE_BATCH = 1 << 20  # minibatch standard deviation over all samples; NVlabs stores None


def generator(resolution: int, mapping_layers: int, label_dim: int = 0) -> Table:
    """Returns the table of a generator, conditional when `label_dim` is not 0."""
    table = _mapping("ema_g/mapping", "mapping", mapping_layers, label_dim)

    def modulated(path: str, key: str) -> Table:
        affine = layouts.biased(f"{path}/conv/affine", f"{key}.affine.", layouts.DENSE)
        return affine | {
            f"{path}/conv/kernel": (f"{key}.weight", layouts.CONV),
            f"{path}/bias": (f"{key}.bias", layouts.SAME),
        }

    def styled(name: str, key: str) -> Table:
        return modulated(f"ema_g/synthesis/{name}", key) | {
            f"ema_g/synthesis/{name}/noise_strength": (f"{key}.noise_strength", layouts.SAME),
            f"buffers_g/synthesis/{name}/noise": (f"{key}.noise_const", layouts.MAP),
        }

    table["ema_g/synthesis/const"] = ("synthesis.b4.const", layouts.CHW)
    for index in range(resolution.bit_length() - 2):
        size = 4 << index
        key = f"synthesis.b{size}"
        if size > 4:
            table |= styled(f"conv_{size}_up", f"{key}.conv0")
        table |= styled(f"conv_{size}", f"{key}.conv1")
        table |= modulated(f"ema_g/synthesis/rgb_{size}", f"{key}.torgb")
    return table


def discriminator(resolution: int, label_dim: int = 0) -> Table:
    """Returns the table of a discriminator, conditional when `label_dim` is not 0."""
    table = layouts.biased("params_d/from_rgb", f"b{resolution}.fromrgb.", layouts.CONV)
    for index in range(1, resolution.bit_length() - 2):
        path, key = f"params_d/block_{resolution >> index}", f"b{resolution >> (index - 1)}"
        table |= layouts.biased(f"{path}/conv_0", f"{key}.conv0.", layouts.CONV)
        table |= layouts.biased(f"{path}/conv_1", f"{key}.conv1.", layouts.CONV)
        table[f"{path}/skip/kernel"] = (f"{key}.skip.weight", layouts.CONV)
    table |= layouts.biased("params_d/conv_4", "b4.conv.", layouts.CONV)
    table |= layouts.biased("params_d/dense", "b4.fc.", layouts.FLAT_COLUMNS)
    table |= layouts.biased("params_d/realness", "b4.out.", layouts.DENSE)
    if label_dim:
        table |= _mapping("params_d/label_mapping", "mapping", 8, label_dim)
    return table


def _mapping(path: str, key: str, layers: int, label_dim: int) -> Table:
    """Returns the rows of a mapping network, with the embedding of the label when it is conditional."""
    table: Table = layouts.biased(f"{path}/embed", f"{key}.embed.", layouts.DENSE) if label_dim else {}
    for index in range(layers):
        table |= layouts.biased(f"{path}/dense_{index}", f"{key}.fc{index}.", layouts.DENSE)
    return table


FORMAT = Format(generator, discriminator)


def read(saved: Any, source: str) -> Parts:
    """Reads the networks from the records of a file.

    Args:
        saved: the dict with `G`, `D`, `G_ema` from `pickles.read`.
        source: name of the file in messages.

    Returns:
        G (`G_ema`, else `G`), and D and the average w where the file has them.

    Raises:
        FileError: a network is not a StyleGAN2, or has an architecture that is not implemented.
    """
    networks = arrays_lib.as_dict(saved) or {}
    name = "G_ema" if networks.get("G_ema") is not None else "G"
    state_g, modules_g = _collect(source, networks.get(name))
    if any(key.startswith(("synthesis.input.", "synthesis.L")) for key in state_g):
        raise FileError(f"{source} holds a StyleGAN3; only StyleGAN2 networks are read")
    state_d, modules_d = _collect(source, networks["D"]) if networks.get("D") is not None else (None, {})
    _check(source, modules_g, "skip")
    _check(source, modules_d, "resnet")
    found = parts_of(state_g, state_d, source)
    found.options_g = {
        "mapping_lr_mul": _only(source, modules_g, r"mapping\.fc\d+", "bias_gain", 0.01),
        "conv_clamp": _only(source, modules_g, r"synthesis\.b\d+\.(conv\d|torgb)", "conv_clamp", 0.0),
    }
    if state_d is not None:
        group = _only(source, modules_d, r"b4\.mbstd", "group_size", WHOLE_BATCH)
        clamp = _only(source, modules_d, r"b\d+\.(conv\d?|fromrgb)", "conv_clamp", 0.0)
        found.options_d = {"mbstd_group": int(group), "conv_clamp": clamp}
        if _only(source, modules_d, r"mapping\.fc\d+", "bias_gain", 0.01) != 0.01:
            raise FileError(f"{source}: D's mapping of labels has another learning-rate multiplier than 0.01")
    if name == "G":
        found.notes.append("the file has no G_ema (the averaged generator); G was taken")
    return found


def parts_of(
    state_g: Mapping[str, np.ndarray], state_d: Mapping[str, np.ndarray] | None, source: str = "the state dict"
) -> Parts:
    """Returns the networks of two state dicts, for `assembly.assemble`.

    Args:
        state_g: parameters and buffers of a generator by key.
        state_d: those of a discriminator, or None.
        source: name of the state dicts in messages.

    Raises:
        FileError: a resampling filter is not [1,3,3,1].
    """
    state_g = layouts.without_filters(source, state_g, FILTERS)
    w_avg = state_g.pop("mapping.w_avg", None)
    if state_d is not None:
        state_d = layouts.without_filters(source, state_d, FILTERS)
    resolution = layouts.last_number(r"synthesis\.b(\d+)\..*", state_g)
    layers = layouts.last_number(r"mapping\.fc(\d+)\.weight", state_g) + 1
    return Parts(
        resolution,
        min(max(layers, 1), 64),
        state_g,
        state_d,
        w_avg,
        label_dim_g=_classes(state_g),
        label_dim_d=_classes(state_d or {}),
    )


def _classes(state: Mapping[str, np.ndarray]) -> int:
    """Returns the number of classes of a conditional network, 0 for a plain one."""
    embed = state.get("mapping.embed.weight")
    return embed.shape[-1] if embed is not None and embed.ndim else 0


def _collect(source: str, network: Any) -> tuple[dict[str, np.ndarray], dict[str, dict[Any, Any]]]:
    """Returns the arrays of a network by key, and the `__dict__` of each of its modules by name."""
    states, modules = {}, {}
    for name, state in _walk(source, network):
        modules[name] = state
        for field in ("_parameters", "_buffers"):
            for key, value in (arrays_lib.as_dict(state.get(field)) or {}).items():
                array = arrays_lib.decode(value, source)
                if array is not None:
                    states[f"{name}.{key}".lstrip(".")] = array
    if not states:
        raise FileError(f"{source} is damaged: a network of PyTorch has no arrays")
    return states, modules


def _walk(source: str, network: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yields name and `__dict__` of a network and its modules; the records of a hostile file may form a cycle."""
    rest = [("", network)]
    for _ in range(MAX_MODULES):
        if not rest:
            return
        name, module = rest.pop()
        state = _state(module)
        if name.count(".") > MAX_DEPTH or state is None:
            raise FileError(f"{source} is damaged: {printable(name) or 'a network'} is not a module of PyTorch")
        yield name, state
        children = (arrays_lib.as_dict(state.get("_modules")) or {}).items()
        rest += [(f"{name}.{key}".lstrip("."), child) for key, child in children if child is not None]
    raise FileError(f"{source} has more than {MAX_MODULES} modules in a network; a StyleGAN2 has fewer")


def _state(module: Any) -> dict[Any, Any] | None:
    """Returns the `__dict__` of a pickled module, None for any other value."""
    if not isinstance(module, Call):
        return None
    if module.name.name == "_reconstruct_persistent_obj":
        meta = arrays_lib.as_dict(module.args[0]) if module.args else None
        return arrays_lib.as_dict((meta or {}).get("state"))
    return arrays_lib.as_dict(module.state)


def _check(source: str, modules: Mapping[str, dict[Any, Any]], architecture: str) -> None:
    """Raises `FileError` for architectures and activations that are not implemented."""
    for name, state in modules.items():
        for field, known in (("architecture", (architecture,)), ("activation", ("lrelu", "linear"))):
            value = state.get(field, known[0])
            if value not in known:
                raise FileError(
                    f"{source}: {printable(name)} has the {field} {printable(value, 20)!r}; "
                    f"only {' and '.join(known)} can be read"
                )


def _only(source: str, modules: Mapping[str, dict[Any, Any]], pattern: str, field: str, otherwise: float) -> float:
    """Returns the number that a field has in all modules of a pattern; `otherwise` where it is None or missing."""
    given = [state[field] for name, state in modules.items() if field in state and re.fullmatch(pattern, name)]
    values = {arrays_lib.number(value, source, otherwise) for value in given} or {otherwise}
    if len(values) > 1:
        raise FileError(f"{source}: its layers differ in {field}, which is not supported")
    return values.pop()
