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


def sfn(*sizes):
    """The Semantic_Fusion_Network of SD-GAN with the shapes that `sfn_shapes` gives."""
    made = {}
    for key, shape in sfn_shapes(*sizes).items():
        part = key.rpartition(".")[2]
        if part == "num_batches_tracked":
            made[key] = np.zeros((), np.int64)
        elif part == "weight" and len(shape) > 1:
            fan = shape[2] if len(shape) == 5 else np.prod(shape[1:], dtype=int)
            made[key] = golden.make(key, shape, f"fan:{fan}")
        elif part == "weight":
            made[key] = golden.make(key, shape, "affine:0.25:0.05" if shape == (1,) else "affine:1:0.1")
        else:
            made[key] = golden.make(key, shape, "absvar" if part == "running_var" else "affine:0:0.1")
    return made


def sfn_shapes(widths, style_widths, side, layers):
    """Its names and shapes: channels of trunks and style encoder, side of the last map, vectors of the offset."""
    shapes, norms = {}, {}
    for trunk, own in (("arcfacenet", 3), ("masknet", 2)):
        shapes[f"{trunk}.conv1.weight"], norms[f"{trunk}.bn1"] = (widths[0], 3, 3, 3), widths[0]
        inputs = widths[0]
        for stage, width in enumerate(widths):
            for index in range(2):
                block = f"{trunk}.layer{stage + 1}.{index}"
                inner = inputs if own == 3 else width
                shapes |= {
                    f"{block}.conv1.weight": (inner, inputs, 3, 3),
                    f"{block}.conv2.weight": (width, inner, 3, 3),
                }
                norms |= {f"{block}.bn1": inner, f"{block}.bn2": width}
                if own == 3:
                    norms[f"{block}.bn0"] = inputs
                    shapes |= {f"{block}.prelu.weight": (1,), f"{block}.se.fc.1.weight": (1,)}
                    shapes |= _dense(f"{block}.se.fc.0", max(4, width // 16), width)
                    shapes |= _dense(f"{block}.se.fc.2", width, max(4, width // 16))
                if index == 0 and (inputs != width or stage or own == 2):
                    shapes[f"{block}.downsample.0.weight"] = (width, inputs, 1, 1)
                    norms[f"{block}.downsample.1"] = width
                inputs = width
    shapes["arcfacenet.prelu.weight"] = (1,)
    channels, d = (9, *style_widths, widths[-1]), widths[-1]
    for index, place in enumerate((1, 4, 7, 10, 14)):
        shape = (channels[index + 1], channels[index])
        shapes[f"encoder.model.{place}.weight"] = (*(shape[::-1] if place == 10 else shape), 3, 3)
        shapes[f"encoder.model.{place}.bias"] = (channels[index + 1],)
    for name in ("conv_gamma", "conv_beta", "Spade.mlp_shared.0", "Spade.mlp_gamma", "Spade.mlp_beta"):
        shapes |= {f"fusion.{name}.weight": (d, d, 5, 5), f"fusion.{name}.bias": (d,)}
    for index in range(19):
        shapes |= _dense(f"fusion.fc_mu{index}", d, d)
    shapes |= {"fusion.blending_gamma": (1,), "fusion.blending_beta": (1,), "fusion.noise_var": (d,)}
    shapes["regre.tree_connect_1.0.weight"] = (1, d, d, side**2, 1)
    shapes["regre.tree_connect_2.0.weight"] = (1, layers, side**2, d, 1)
    norms["regre.in3"] = layers
    for name, width in norms.items():
        parts = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"{name}.{part}": (width,) for part in parts[: 2 if name == "regre.in3" else 4]}
        if name != "regre.in3":
            shapes[f"{name}.num_batches_tracked"] = ()
    return shapes


def _dense(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
