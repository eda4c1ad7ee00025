"""Reader and writer of checkpoints of rosinality/stylegan2-pytorch (`.pt`).

The file is a dict with the state dicts `g_ema`, `g` and `d`, any of which may be missing, and sometimes `latent_avg`;
files of a training run also contain optimisers and options. Other projects store the same arrays under other names
(`state_dict`, `params_ema`, …), inside another module (`decoder.` of encoders such as pSp), or as a bare state dict,
so the networks are found by their arrays. Files from before April 2020 have no noise buffers. Source of the names:
golden files (`tests/golden`).
"""

from __future__ import annotations

import collections
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from etils import epath

from sdgan_jax.config import Config
from sdgan_jax.importers import arrays as arrays_lib
from sdgan_jax.importers import layouts
from sdgan_jax.importers.assembly import Format, Parts
from sdgan_jax.importers.layouts import Table
from sdgan_jax.importers.pickles import FileError, printable

FILTERS = (".blur.kernel", ".upsample.kernel", ".conv2.0.kernel", ".skip.0.kernel")
# Channels by resolution at channel_multiplier 1; those from 64 up are multiplied by it.
WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
# Names that identify a network: at least two of them under a common prefix.
MARKS_G = ("input.input", "conv1.conv.weight", "conv1.activate.bias", "to_rgb1.conv.weight", "to_rgb1.bias")
MARKS_D = ("final_conv.0.weight", "final_conv.1.bias", "final_linear.0.weight", "final_linear.1.weight")
MOST_BLOCKS = 9  # above 4×4; a generator of 1024 pixels has 8


def generator(resolution: int, mapping_layers: int, label_dim: int = 0) -> Table:
    """Returns the table of a generator; there is no conditional form."""
    del label_dim
    table: Table = {}
    for index in range(mapping_layers):
        table |= layouts.biased(f"ema_g/mapping/dense_{index}", f"style.{index + 1}.", layouts.DENSE)

    def modulated(path: str, key: str) -> Table:
        affine = layouts.biased(f"{path}/conv/affine", f"{key}.conv.modulation.", layouts.DENSE)
        return {f"{path}/conv/kernel": (f"{key}.conv.weight", layouts.MODULATED)} | affine

    def styled(name: str, key: str, noise: int) -> Table:
        path = f"ema_g/synthesis/{name}"
        return modulated(path, key) | {
            f"{path}/noise_strength": (f"{key}.noise.weight", layouts.SCALAR),
            f"{path}/bias": (f"{key}.activate.bias", layouts.SAME),
            f"buffers_g/synthesis/{name}/noise": (f"noises.noise_{noise}", layouts.NCHW_MAP),
        }

    def rgb(size: int, key: str) -> Table:
        path = f"ema_g/synthesis/rgb_{size}"
        return modulated(path, key) | {f"{path}/bias": (f"{key}.bias", layouts.RGB_BIAS)}

    table["ema_g/synthesis/const"] = ("input.input", layouts.NCHW)
    table |= styled("conv_4", "conv1", 0) | rgb(4, "to_rgb1")
    for block in range(resolution.bit_length() - 3):
        size = 8 << block
        table |= styled(f"conv_{size}_up", f"convs.{2 * block}", 2 * block + 1)
        table |= styled(f"conv_{size}", f"convs.{2 * block + 1}", 2 * block + 2) | rgb(size, f"to_rgbs.{block}")
    return table


def discriminator(resolution: int, label_dim: int = 0) -> Table:
    """Returns the table of a discriminator; there is no conditional form."""
    del label_dim

    def conv(path: str, key: str, place: int = 0) -> Table:
        suffixes = (f".{place}.weight", f".{place + 1}.bias")
        return layouts.biased(f"params_d/{path}", key, layouts.CONV, suffixes)

    table = conv("from_rgb", "convs.0")
    for index in range(1, resolution.bit_length() - 2):
        path = f"block_{resolution >> index}"
        table |= conv(f"{path}/conv_0", f"convs.{index}.conv1") | conv(f"{path}/conv_1", f"convs.{index}.conv2", 1)
        table[f"params_d/{path}/skip/kernel"] = (f"convs.{index}.skip.1.weight", layouts.CONV)
    table |= conv("conv_4", "final_conv")
    table |= layouts.biased("params_d/dense", "final_linear.0.", layouts.FLAT_COLUMNS)
    return table | layouts.biased("params_d/realness", "final_linear.1.", layouts.DENSE)


FORMAT = Format(generator, discriminator)


def read(saved: Any, source: str, storages: arrays_lib.Storages) -> Parts | None:
    """Reads a checkpoint.

    Args:
        saved: the content of the file as records.
        source: name of the file in messages.
        storages: the storages of the file.

    Returns:
        G (the averaged one, where the file has it), and D and the average w where the file has them; None where the
        file has neither G nor D.

    Raises:
        FileError: the file has a D but no G, or an array does not fit its bytes.
    """
    generators, discriminators = (list(_networks(saved, marks, source)) for marks in (MARKS_G, MARKS_D))
    if not generators and not discriminators:
        return None
    if not generators:
        name = f" ({printable(discriminators[0][0])})" if discriminators[0][0] else ""
        raise FileError(f"{source} holds a discriminator{name} but no generator; give a file with a generator")
    name, tree = min(generators, key=lambda found: not _is_average(found[0]))  # the first of the averaged ones
    state_g = arrays_lib.state_dict(tree, source, storages)
    state_d = arrays_lib.state_dict(discriminators[0][1], source, storages) if discriminators else None
    items = (pair for _, tree in arrays_lib.dicts(saved) for pair in tree.items())
    averages = [item for key, item in items if layouts.own_name(key) == "latent_avg"]
    w_avg = next((w for item in averages if (w := arrays_lib.decode(item, source, storages)) is not None), None)
    found = parts_of(state_g, state_d, _one_w(w_avg), source)
    if name == "g":
        found.notes.append("the file has no g_ema (the averaged generator); g was taken")
    elif not _is_average(name):
        where = f"{printable(name)} was taken" if name else "it is a bare state dict"
        found.notes.append(f"the file does not say whether its generator is the averaged one (g_ema); {where}")
    if not discriminators and (arrays_lib.as_dict(saved) or {}).get("d") is not None:
        found.notes.append("left out: d, which holds no discriminator of rosinality")
    return found


def _networks(saved: Any, marks: tuple[str, ...], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and content of each state dict in a file that has at least two arrays of these names."""
    for name, tree in arrays_lib.dicts(saved):
        names = {layouts.own_name(key) for key in tree}
        roots = [key.removesuffix(mark) for key in names for mark in marks if f".{key}".endswith(f".{mark}")]
        for root, count in sorted(collections.Counter(roots).items()):
            if count > 1:
                own = {key: item for key, item in tree.items() if layouts.own_name(key).startswith(root)}
                own = {key.removeprefix(root): item for key, item in layouts.unwrapped(own, source).items()}
                own.pop("latent_avg", None)
                yield f"{name}.{root}".strip("."), own


def _is_average(name: str) -> bool:
    """Returns whether the name is that of a moving average, such as `g_ema` or `params_ema`."""
    return "ema" in re.split("[^a-z]+", name.lower())


def _one_w(w_avg: np.ndarray | None) -> np.ndarray | None:
    """Returns one row of an average w that is repeated for each layer, as encoders store it."""
    if w_avg is not None and w_avg.ndim == 2 and len(w_avg) > 1 and (w_avg == w_avg[:1]).all():
        return w_avg[0]
    return w_avg


def parts_of(
    state_g: Mapping[str, np.ndarray] | None,
    state_d: Mapping[str, np.ndarray] | None,
    w_avg: np.ndarray | None = None,
    source: str = "the state dict",
) -> Parts:
    """Returns the networks of two state dicts, for `assembly.assemble`.

    Missing noise buffers are drawn from a fixed key.

    Args:
        state_g: arrays of a generator by key.
        state_d: arrays of a discriminator, or None.
        w_avg: average w, f32[D], or None.
        source: name of the state dicts in messages.

    Raises:
        FileError: the generator has no layers above 4×4, or a resampling filter is not [1,3,3,1].
    """
    state_g = layouts.without_filters(source, state_g or {}, FILTERS)
    if state_d is not None:
        state_d = layouts.without_filters(source, state_d, FILTERS)
    blocks = min(layouts.last_number(r"convs\.(\d+)\.conv\.weight", state_g) // 2 + 1, MOST_BLOCKS)
    if not blocks:
        raise FileError(f"{source}: the generator is cut short: it has no layers above 4×4 (convs.0.conv.weight, …)")
    layers = layouts.last_number(r"style\.(\d+)\.weight", state_g)
    count = 2 * blocks + 1
    missing = {f"noises.noise_{index}": index for index in range(count) if f"noises.noise_{index}" not in state_g}
    state_g |= {key: _noise(index) for key, index in missing.items()}
    which = "no noise buffers (noises.*)" if len(missing) == count else f"no {', '.join(missing)}"
    notes = [f"the file has {which}; drawn from a fixed key, the same at every conversion"] if missing else []
    return Parts(4 << blocks, min(max(layers, 1), 64), state_g, state_d, w_avg, notes=notes)


def _noise(index: int) -> np.ndarray:
    """Returns the noise buffer of a layer, f32[1,1,H,H]: standard normal, and the same at every call."""
    side = 4 << (index + 1) // 2
    return np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(0), index), (1, 1, side, side)))


def write(path: epath.PathLike, config: Config, trees: Mapping[str, Any]) -> list[str]:
    """Writes a checkpoint with `g_ema`, `latent_avg`, and `d` where the model has a D of this format.

    Args:
        path: path of the file to write.
        config: config of the model.
        trees: the model's arrays, from `training.gan.weights.read`.

    Returns:
        Lines for the user about the parts of the model that a checkpoint cannot contain.

    Raises:
        ValueError: the generator has a part that this format lacks.
        ImportError: torch is not installed.
    """
    flat = flax.traverse_util.flatten_dict(dict(trees), sep="/")
    table_g = generator(config.resolution, config.generator.mapping_layers)
    table_d = discriminator(config.resolution)
    head = "params_d/attribute/"
    if foreign := [path for path in flat if path.startswith(("ema_g/", "buffers_g/")) and path not in table_g]:
        raise ValueError(f"the generator is not a plain StyleGAN2's: rosinality's has no {foreign[0]}")
    ours_d = [path for path in flat if path.startswith("params_d/") and head not in path]
    foreign_d = [path for path in ours_d if path not in table_d]
    notes = [f"left out: D, which is not a plain StyleGAN2's: rosinality's has no {foreign_d[0]}"] if foreign_d else []
    torch = _torch()
    blocks, fir = config.num_layers // 2 - 1, np.outer((1, 3, 3, 1), (1, 3, 3, 1)).astype(np.float32) / 64
    filters_g = {
        f"{name}.kernel": fir * 4  # gain of an up-sampling filter
        for block in range(blocks)
        for name in (f"convs.{2 * block}.conv.blur", f"to_rgbs.{block}.upsample")
    }
    saved = {"g_ema": layouts.put(table_g, flat) | filters_g}
    if ours_d and not foreign_d:
        filters_d = {f"convs.{block + 1}.{name}.0.kernel": fir for block in range(blocks) for name in ("conv2", "skip")}
        saved["d"] = layouts.put(table_d, flat) | filters_d
    tensors: dict[str, Any] = {
        part: {key: torch.from_numpy(np.array(array)) for key, array in state.items()} for part, state in saved.items()
    }
    tensors["latent_avg"] = torch.from_numpy(np.array(flat["w_avg"], np.float32))
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    target = epath.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(buffer.getvalue())
    return notes + _left_out(config, flat, "d" in saved)


def _left_out(config: Config, flat: Mapping[str, Any], with_d: bool) -> list[str]:
    """Returns lines about the parts that a checkpoint cannot contain, and about options for its reader."""
    notes = []
    if with_d:
        if any(path.startswith("params_d/attribute/") for path in flat):
            notes.append("left out: the attribute head of D")
        if config.discriminator.mbstd_group != 4:
            notes.append(f"D uses minibatch groups of {config.discriminator.mbstd_group}; rosinality's D uses 4")
    if any(path.startswith("params_f/") for path in flat):
        notes.append("left out: the prior basis B and the fusion network F")
    if config.generator.mapping_lr_mul != 0.01:
        notes.append(f"create rosinality's Generator with lr_mlp={config.generator.mapping_lr_mul}")
    if config.generator.conv_clamp or config.discriminator.conv_clamp:
        notes.append("rosinality's networks do not clamp activations, as these do; images may differ a little")
    widths = [np.shape(flat[f"ema_g/synthesis/conv_{4 << i}/bias"])[0] for i in range(config.num_layers // 2)]
    known = [[WIDTHS[4 << i] * (m if i > 3 else 1) for i in range(len(widths))] for m in (1, 2)]
    if widths not in known:
        notes.append(f"rosinality's Generator must be given the channels {widths}; its own are {known[1]}")
    return notes


def _torch() -> Any:
    """Returns the module torch, which only the writer needs."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("writing .pt files needs torch; install it by pip install -e '.[convert]'") from error
    return torch
