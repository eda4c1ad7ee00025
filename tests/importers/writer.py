"""Writes the files of public formats byte by byte from their documented structure, without torch or TensorFlow.

The pickles name functions of modules that need not exist here, as real files do.
"""

import collections
import io
import math
import pickle
import struct
import zipfile

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # of torch's older file format
SOURCE = "import os\nos.system('touch hacked')\n"  # the module source that NVlabs' pickles carry


class Global:
    """A function or class by name."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError("a pickler only asks whether it is callable")


class Made:
    """An object that is pickled as the call that makes it."""

    def __init__(self, function, args, state=None):
        self.function, self.args, self.state = function, args, state


class New:
    """An object that is pickled as its class and its state."""

    def __init__(self, kind, state):
        self.kind, self.state = kind, state


class Storage:
    """Numbers of torch that lie outside of the pickle."""

    def __init__(self, key, array):
        self.key, self.array = key, np.ascontiguousarray(array)
        kind = {"float32": "Float", "float16": "Half", "float64": "Double", "int64": "Long"}[str(array.dtype)]
        self.reference = ("storage", Global("torch", f"{kind}Storage"), key, "cpu", array.size)


class Pickler(pickle._Pickler):
    """The standard pickler, for the objects above too."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, New):
            for part in (obj.kind, ()):
                self.save(part)
            self.write(pickle.NEWOBJ)
            self.save(obj.state)
            self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)

    def reducer_override(self, obj):
        return (obj.function, obj.args, obj.state) if isinstance(obj, Made) else NotImplemented

    def persistent_id(self, obj):
        return obj.reference if isinstance(obj, Storage) else None


def dumps(obj, protocol=4):
    file = io.BytesIO()
    Pickler(file, protocol).dump(obj)
    return file.getvalue()


def legacy(obj, storages):
    """A file of torch before 1.6: pickles, and storages with their sizes."""
    parts = [pickle.dumps(part, 2) for part in (MAGIC, VERSION, {"little_endian": True})]
    parts += [dumps(obj, 2), pickle.dumps([storage.key for storage in storages], 2)]
    parts += [struct.pack("<q", storage.array.size) + storage.array.tobytes() for storage in storages]
    return b"".join(parts)


def tensor(storage, array, function="_rebuild_tensor_v2"):
    strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
    return Made(Global("torch._utils", function), (storage, 0, array.shape, strides, False, collections.OrderedDict()))


def torch_zip(tree, compression=zipfile.ZIP_STORED):
    """A file of torch.save of a tree of dicts whose arrays become tensors."""
    storages = []

    def convert(value):
        if isinstance(value, dict):
            return collections.OrderedDict((key, convert(item)) for key, item in value.items())
        if isinstance(value, np.ndarray):
            storages.append(Storage(str(len(storages)), value))
            return tensor(storages[-1], value)
        return value

    members = {"data.pkl": dumps(convert(tree), 2), "byteorder": b"little", "version": b"3\n"}
    members |= {f"data/{storage.key}": storage.array.tobytes() for storage in storages}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def torch_legacy(tree):
    """The same in the older format."""
    storages = []

    def convert(value):
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        storages.append(Storage(str(len(storages)), value))
        return tensor(storages[-1], value)

    converted = convert(tree)
    for storage in storages:
        storage.reference += (None,)
    return legacy(converted, storages)


def parameter(array):
    """A parameter of PyTorch inside a pickle: its storage is a file of the older format."""
    storage = Storage("0", array)
    storage.reference += (None,)
    data = Made(Global("torch.storage", "_load_from_bytes"), (legacy(storage, [storage]),))
    inner = tensor(data, array)
    return Made(Global("torch._utils", "_rebuild_parameter"), (inner, False, collections.OrderedDict()))


def nvlabs_network(kind, state, attributes=lambda name: {}):
    """A network of stylegan2-ada-pytorch: modules in modules, each with its source code.

    Args:
        kind: name of its class.
        state: arrays by key.
        attributes: the name of a module to what else its `__dict__` holds.
    """

    def module(name, entries):
        children, own = collections.OrderedDict(), collections.OrderedDict()
        for key, array in entries.items():
            first, _, rest = key.partition(".")
            if rest:
                children.setdefault(first, {})[rest] = array
            else:
                own[key] = array
        buffers = {"resample_filter", "noise_const", "w_avg"}
        fields = {
            "training": False,
            "_parameters": collections.OrderedDict((k, parameter(v)) for k, v in own.items() if k not in buffers),
            "_buffers": collections.OrderedDict((k, parameter(v).args[0]) for k, v in own.items() if k in buffers),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": collections.OrderedDict(),
            "_modules": collections.OrderedDict(
                (key, module(f"{name}.{key}".lstrip("."), inner)) for key, inner in children.items()
            ),
            **attributes(name),
        }
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": kind, "state": fields}
        return Made(Global("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))

    return module("", state)


def tf_network(name, variables, components=None, **static_kwargs):
    """A network of NVlabs stylegan2 in TensorFlow."""
    state = {
        "version": 4,
        "name": name,
        "static_kwargs": static_kwargs,
        "components": components or {},
        "build_module_src": SOURCE,
        "build_func_name": name,
        "variables": list(variables.items()),
    }
    return New(Global("dnnlib.tflib.network", "Network"), state)
