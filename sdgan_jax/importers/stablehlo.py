"""Export of a generator as one StableHLO file for cpu, cuda and tpu and any batch size.

Reading the file needs jax and flatbuffers only:

    import jax, jax.export
    draw = jax.export.deserialize(open("FILE", "rb").read()).call
    images = draw(z, attributes, truncation)

The weights are constants of the program. `z` is f32[N,D], `attributes` f32[N,A] (strength of each attribute, in the
order of the config; zeros for none), `truncation` f32[]; a conditional generator takes `label` f32[N,C] as a fourth
argument. The images are f32[N,R,R,3], about [-1,1], drawn with constant noise.
"""

from __future__ import annotations

import importlib.util

import jax
import jax.export
import jax.numpy as jnp
from etils import epath

from sdgan_jax.config import Config
from sdgan_jax.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def serialize(model: Model) -> bytes:
    """Compiles the averaged generator of a model to StableHLO.

    Args:
        model: a model with a generator; D and F are left out.

    Returns:
        The bytes for `jax.export.deserialize`. JAX guarantees to read them for six months.

    Raises:
        ImportError: flatbuffers is not installed; `jax.export` needs it here and to read the file.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError("StableHLO files need flatbuffers; install it by pip install -e '.[convert]'")
    config, variables = model.config, model.params["G"]
    nets = model.nets
    (batch,) = jax.export.symbolic_shape("batch")

    def draw(z: jax.Array, attributes: jax.Array, truncation: jax.Array, *label: jax.Array) -> jax.Array:
        w_plus = nets.to_w_plus(
            variables,
            z,
            attributes,
            model.params["basis"],
            w_avg=model.params["w_avg"],
            truncation=truncation,
            **({"label": label[0]} if label else {}),
        )
        return nets.synthesize(variables, w_plus, "const")

    shapes = [(batch, config.generator.latent_dim), (batch, config.num_attributes), ()]
    if config.generator.label_dim:
        shapes.append((batch, config.generator.label_dim))
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return bytes(jax.export.export(jax.jit(draw), platforms=PLATFORMS)(*arguments).serialize())


def signature(config: Config) -> str:
    """Returns a description of the program's arguments for a config."""
    label = f", label f32[N,{config.generator.label_dim}]" if config.generator.label_dim else ""
    return (
        f"draw(z f32[N,{config.generator.latent_dim}], attributes f32[N,{config.num_attributes}], "
        f"truncation f32[]{label}) for {', '.join(PLATFORMS)}"
    )


def write(path: epath.PathLike, model: Model) -> None:
    """Writes the bytes of `serialize` to a local or remote file."""
    target = epath.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(serialize(model))
