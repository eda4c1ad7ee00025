"""Whole files of public formats with one small network, made by `states` and `writer`."""

import numpy as np

from sdgan_jax.importers import formats
from tests.importers import states, writer

WIDTHS, DIM, LAYERS, CLASSES = (8, 6, 10), 12, 2, 3
STATE_G, STATE_D = states.nvlabs_g(WIDTHS, DIM, LAYERS), states.nvlabs_d(WIDTHS)


def rosinality_tree(**more):
    g, d = states.rosinality_g(STATE_G), states.rosinality_d(STATE_D)
    return {"g_ema": g, "d": d, "latent_avg": STATE_G["mapping.w_avg"]} | more


def attributes(**of_module):
    """Returns a function that gives the settings in a module's `__dict__`, by the last part of the module's name."""

    def look_up(name):
        defaults = {
            "mbstd": {"group_size": 4},
            "fc0": {"bias_gain": 0.01, "activation": "lrelu", "weight_gain": np.float64(0.0005)},
            "conv0": {"activation": "lrelu", "conv_clamp": None},
        }
        last = name.split(".")[-1]
        return defaults.get(last, {}) | of_module.get(last, {})

    return look_up


def nvlabs_pickle(state_g=STATE_G, state_d=STATE_D, protocol=4, look_up=None, **more):
    """Returns a snapshot of stylegan2-ada-pytorch; D's `mbstd` has a setting, but no arrays."""
    look_up = look_up or attributes()
    networks = {"G": None, "training_set_kwargs": {"class_name": "x"}, "augment_pipe": None}
    networks["G_ema"] = writer.nvlabs_network("Generator", state_g, look_up)
    if state_d is not None:
        networks["D"] = writer.nvlabs_network("Discriminator", state_d, look_up)
        fields = networks["D"].args[0]["state"]["_modules"]["b4"].args[0]["state"]
        fields["_modules"]["mbstd"] = writer.nvlabs_network("MinibatchStdLayer", {}, lambda name: look_up("mbstd"))
    return writer.dumps(networks | more, protocol)


def tf_pickle(state_g=STATE_G, state_d=STATE_D, arguments_g=(), arguments_d=(), protocol=4):
    own, mapping, synthesis = states.tf_g(state_g)

    def generator(own):
        components = {
            "mapping": writer.tf_network("G_mapping", mapping),
            "synthesis": writer.tf_network("G_synthesis", synthesis),
        }
        return writer.tf_network("G", own, components, resolution=16, **dict(arguments_g))

    d = writer.tf_network("D", states.tf_d(state_d), resolution=16, **dict(arguments_d))
    unused = generator({"lod": np.float32(0), "dlatent_avg": np.zeros(DIM, np.float32)})
    return writer.dumps((unused, d, generator(own)), protocol)


def read(tmp_path, data):
    """Returns the model or network that is read from a file with these bytes."""
    (tmp_path / "x").write_bytes(data)
    return formats.read(tmp_path / "x")[1]
