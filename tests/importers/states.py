"""State dicts of small networks under the names of the public formats, written from their documentation.

Values follow the scheme of the golden files. A network is told by its widths at 4, 8, 16, …; `test_states` holds the
names and shapes against the golden lists.
"""

import numpy as np

from tests.nets import golden

FIR = np.outer((1, 3, 3, 1), (1, 3, 3, 1)).astype(np.float32) / 64


def _fill(shapes):
    """An array for each name: biases of modulation around 1, filters, all else standard normal."""
    made = {}
    for key, shape in shapes.items():
        if key.endswith("resample_filter"):
            made[key] = FIR
        elif key.endswith("affine.bias"):
            made[key] = np.float32(1) + np.float32(0.1) * golden.draw(key, shape)
        elif ".fc" in key and "mapping" in key:
            made[key] = np.float32(100 if key.endswith("weight") else 10) * golden.draw(key, shape)
        else:
            made[key] = golden.draw(key, shape)
    return {key: np.asarray(array, np.float32) for key, array in made.items()}


def nvlabs_g(widths=(8, 6), dim=12, layers=2, classes=0):
    """A generator of stylegan2-ada-pytorch; conditional with `classes`."""
    shapes = {"mapping.w_avg": (dim,)}
    if classes:
        shapes |= {"mapping.embed.weight": (dim, classes), "mapping.embed.bias": (dim,)}
    for i in range(layers):
        shapes |= {f"mapping.fc{i}.weight": (dim, 2 * dim if classes and not i else dim), f"mapping.fc{i}.bias": (dim,)}
    for block, width in enumerate(widths):
        size = 4 << block
        name = f"synthesis.b{size}"
        shapes[f"{name}.resample_filter"] = (4, 4)
        if block == 0:
            shapes[f"{name}.const"] = (width, 4, 4)
        for conv, inputs in (("conv0", widths[block - 1]), ("conv1", width))[block == 0 :]:
            shapes |= {
                f"{name}.{conv}.weight": (width, inputs, 3, 3),
                f"{name}.{conv}.bias": (width,),
                f"{name}.{conv}.affine.weight": (inputs, dim),
                f"{name}.{conv}.affine.bias": (inputs,),
                f"{name}.{conv}.noise_strength": (),
                f"{name}.{conv}.noise_const": (size, size),
                f"{name}.{conv}.resample_filter": (4, 4),
            }
        shapes |= {
            f"{name}.torgb.weight": (3, width, 1, 1),
            f"{name}.torgb.bias": (3,),
            f"{name}.torgb.affine.weight": (width, dim),
            f"{name}.torgb.affine.bias": (width,),
        }
    return _fill(shapes)


def nvlabs_d(widths=(8, 6), classes=0):
    """A discriminator of stylegan2-ada-pytorch; conditional with `classes`."""
    highest = 4 << (len(widths) - 1)
    shapes = {
        f"b{highest}.fromrgb.weight": (widths[-1], 3, 1, 1),
        f"b{highest}.fromrgb.bias": (widths[-1],),
        f"b{highest}.fromrgb.resample_filter": (4, 4),
    }
    for block in range(1, len(widths)):
        name, width, out = f"b{4 << block}", widths[block], widths[block - 1]
        shapes |= {
            f"{name}.conv0.weight": (width, width, 3, 3),
            f"{name}.conv0.bias": (width,),
            f"{name}.conv1.weight": (out, width, 3, 3),
            f"{name}.conv1.bias": (out,),
            f"{name}.skip.weight": (out, width, 1, 1),
            f"{name}.resample_filter": (4, 4),
        }
        shapes |= {f"{name}.{layer}.resample_filter": (4, 4) for layer in ("conv0", "conv1", "skip")}
    width = widths[0]
    shapes |= {
        "b4.conv.weight": (width, width + 1, 3, 3),
        "b4.conv.bias": (width,),
        "b4.conv.resample_filter": (4, 4),
        "b4.fc.weight": (width, 16 * width),
        "b4.fc.bias": (width,),
        "b4.out.weight": (width if classes else 1, width),
        "b4.out.bias": (width if classes else 1,),
    }
    if classes:
        shapes |= {"mapping.embed.weight": (width, classes), "mapping.embed.bias": (width,)}
        for i in range(8):
            shapes |= {f"mapping.fc{i}.weight": (width, width), f"mapping.fc{i}.bias": (width,)}
    return _fill(shapes)


def _size(key):
    """The resolution in a key such as "synthesis.b16.conv0.weight"."""
    return int(key.partition("b")[2].partition(".")[0]) if not key.startswith("syn") else int(key.split(".")[1][1:])


def rosinality_g(state):
    """The same generator under rosinality's names: nothing is turned, some arrays have more axes."""
    made = {}
    for key, array in state.items():
        if key.startswith("mapping.fc"):
            layer, part = key.removeprefix("mapping.fc").split(".")
            made[f"style.{int(layer) + 1}.{part}"] = array
        elif key.startswith("synthesis.b"):
            _, block, rest = key.split(".", 2)
            index = int(block[1:]).bit_length() - 4  # -1 at 4
            layer, _, part = rest.partition(".")
            if rest == "const":
                made["input.input"] = array[None]
            elif layer == "torgb":
                name = "to_rgb1" if index < 0 else f"to_rgbs.{index}"
                made |= _rosinality_layer(name, name + ".bias", part, array, bias_shape=(1, 3, 1, 1))
            elif layer.startswith("conv"):
                number = 2 * index + int(layer[-1])
                name = "conv1" if index < 0 else f"convs.{number}"
                if part == "noise_const":
                    made[f"noises.noise_{0 if index < 0 else number + 1}"] = array[None, None]
                else:
                    made |= _rosinality_layer(name, name + ".activate.bias", part, array)
                if index >= 0 and layer == "conv0" and part == "weight":
                    made[f"{name}.conv.blur.kernel"] = made[f"to_rgbs.{index}.upsample.kernel"] = 4 * FIR
    return made


def _rosinality_layer(name, bias, part, array, bias_shape=None):
    if part == "weight":
        return {f"{name}.conv.weight": array[None]}
    if part == "bias":
        return {bias: array.reshape(bias_shape or array.shape)}
    if part == "noise_strength":
        return {f"{name}.noise.weight": array.reshape(1)}
    if part.startswith("affine."):
        return {f"{name}.conv.modulation.{part.removeprefix('affine.')}": array}
    return {}


def rosinality_d(state):
    """The same discriminator under rosinality's names."""
    made, highest = {}, max(_size(key) for key in state)
    for key, array in state.items():
        block, layer, part = key.split(".") if key.count(".") == 2 else (key.split(".")[0], "", "")
        index = (highest // max(_size(key), 8)).bit_length()  # 1 at the highest resolution
        name = {
            "fromrgb": ("convs.0.0.weight", "convs.0.1.bias"),
            "conv0": (f"convs.{index}.conv1.0.weight", f"convs.{index}.conv1.1.bias"),
            "conv1": (f"convs.{index}.conv2.1.weight", f"convs.{index}.conv2.2.bias"),
            "skip": (f"convs.{index}.skip.1.weight", ""),
            "conv": ("final_conv.0.weight", "final_conv.1.bias"),
            "fc": ("final_linear.0.weight", "final_linear.0.bias"),
            "out": ("final_linear.1.weight", "final_linear.1.bias"),
        }.get(layer)
        if name and part in ("weight", "bias"):
            made[name[part == "bias"]] = array
        if layer in ("conv1", "skip") and part == "weight":
            made[f"convs.{index}.{'conv2' if layer == 'conv1' else 'skip'}.0.kernel"] = FIR
    return made


def tf_g(state):
    """The same generator in TensorFlow: variables of the network, of its mapping, and of its synthesis."""
    own = {"lod": np.float32(0), "dlatent_avg": state["mapping.w_avg"]}
    mapping, synthesis = {}, {}
    for key, array in state.items():
        parts = key.split(".")
        if key.startswith("mapping.fc"):
            mapping[f"Dense{parts[1][2:]}/{parts[2]}"] = array.T
        elif key.startswith("synthesis.b"):
            size, layer, part = int(parts[1][1:]), parts[2], ".".join(parts[3:])
            name = {"conv0": "Conv0_up", "conv1": "Conv1" if size > 4 else "Conv", "torgb": "ToRGB"}.get(layer)
            path = f"{size}x{size}/{name}"
            if layer == "const":
                synthesis["4x4/Const/const"] = array[None]
            elif part == "noise_const":
                number = 0 if size == 4 else 2 * (size.bit_length() - 1) - (5 if layer == "conv0" else 4)
                synthesis[f"noise{number}"] = array[None, None]
            elif part == "weight":
                kernel = array.transpose(2, 3, 1, 0)
                synthesis[f"{path}/weight"] = kernel[::-1, ::-1] if layer == "conv0" else kernel
            elif part == "affine.weight":
                synthesis[f"{path}/mod_weight"] = array.T
            elif part == "affine.bias":
                synthesis[f"{path}/mod_bias"] = array - np.float32(1)
            elif part in ("bias", "noise_strength"):
                synthesis[f"{path}/{part}"] = array
    return own, mapping, synthesis


def tf_d(state):
    """The same discriminator in TensorFlow."""
    made = {}
    for key, array in state.items():
        block, _, rest = key.partition(".")
        layer, _, part = rest.partition(".")
        if part not in ("weight", "bias"):
            continue
        names = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip", "conv": "Conv"}
        path = "Output" if layer == "out" else f"{block[1:]}x{block[1:]}/{names.get(layer, 'Dense0')}"
        if part == "weight":
            array = array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)
        made[f"{path}/{part}"] = array
    return made


def irse(blocks, widths, side, embedding):
    """The identity network of InsightFace_Pytorch: residual blocks of each stage, channels, last map, embedding."""
    kinds = {"input_layer.0.weight": (widths[0], 3, 3, 3), "input_layer.2.weight": (widths[0],)}
    norms = {"input_layer.1": widths[0], "output_layer.0": widths[-1], "output_layer.4": embedding}
    inputs, index = widths[0], 0
    for count, width in zip(blocks, widths, strict=True):
        for _ in range(count):
            block = f"body.{index}."
            res = f"{block}res_layer."
            kinds |= {
                f"{res}1.weight": (width, inputs, 3, 3),
                f"{res}2.weight": (width,),
                f"{res}3.weight": (width, width, 3, 3),
                f"{res}5.fc1.weight": (width // 16, width, 1, 1),
                f"{res}5.fc2.weight": (width, width // 16, 1, 1),
            }
            norms |= {f"{res}0": inputs, f"{res}4": width}
            if width != inputs:
                kinds[f"{block}shortcut_layer.0.weight"] = (width, inputs, 1, 1)
                norms[f"{block}shortcut_layer.1"] = width
            inputs, index = width, index + 1
    kinds["output_layer.3.weight"] = (embedding, widths[-1] * side**2)
    made = {
        key: golden.make(key, shape, "affine:0.25:0.05" if len(shape) == 1 else f"fan:{np.prod(shape[1:])}")
        for key, shape in kinds.items()
    }
    made["output_layer.3.bias"] = golden.make("output_layer.3.bias", (embedding,), "affine:0:0.1")
    parts = {"weight": "affine:1:0.1", "bias": "affine:0:0.1", "running_mean": "affine:0:0.1", "running_var": "absvar"}
    for name, width in norms.items():
        made |= {f"{name}.{part}": golden.make(f"{name}.{part}", (width,), kind) for part, kind in parts.items()}
        made[f"{name}.num_batches_tracked"] = np.zeros((), np.int64)
    return made
