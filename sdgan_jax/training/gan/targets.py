"""Pairs of faces for the stage `fusion`: a face, and the same face with an attribute put on or taken off.

For rendered data the renderer draws both faces, so the target is the truth. Other faces, photos and faces that G drew,
get their attribute by `face3d.attire.wear` on the position map found, in random styles. The pairs are made once per
run, with the latent and the position map of each face, and stored in the workdir.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import latents, pictures, pretrained
from sdgan_jax.config import Config
from sdgan_jax.data import rendered, stream
from sdgan_jax.data.batches import map_batches
from sdgan_jax.face3d.attire import styles, wear
from sdgan_jax.face3d.layout import Layout
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import MeshNetwork, PositionNetwork, archive
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import sharding
from tfds_megn import names

SHOWN = 10  # pairs on the sheet
_BATCH = 64
_SAMPLES = 2  # folded into the random seed: latents of faces that G draws

Arrays = dict[str, np.ndarray]
Wear = Callable[[np.ndarray, np.ndarray, str, int, Layout], np.ndarray]


def check(config: Config) -> None:
    """Refuses attributes that cannot be drawn, and fewer pairs than a batch.

    Raises:
        ValueError: there is no attribute, or one that is unknown to the renderer; or there are too few pairs.
    """
    known = tfds_megn.ATTRIBUTES
    if config.num_attributes < 2 or any(name not in known for name in config.attributes):
        raise ValueError(
            f"config.attributes is {', '.join(config.attributes)}; the stage fusion needs faces that wear them, and "
            f"can draw {', '.join(known[1:])}"
        )
    if config.staged.targets < config.batch_size:
        raise ValueError(
            f"config.staged.targets is {config.staged.targets}, fewer pairs than a batch of the stage fusion "
            f"(config.batch_size {config.batch_size}); set --config.staged.targets={config.batch_size} or more"
        )


def prepare(nets: Networks, trees: dict[str, Tree], workdir: epath.PathLike) -> tuple[Arrays, Arrays]:
    """Makes the pairs of a run, or reads them from the workdir where an earlier start has made them.

    Args:
        nets: the networks of the stage's config.
        trees: the model that the stage starts from: `ema_g`, `buffers_g`, `params_e` and `w_avg`.
        workdir: local or remote directory; the file `targets_<key>.safetensors` is written there.

    Returns:
        `config.staged.targets` pairs to learn from, and a few of the validation split for the sheet. Arrays of N rows:
            source, target: u8[N,R,R,3], the face, and the same face after the edit.
            reconstruction: u8[N,R,R,3], G's picture of the source's latent.
            latent: f32[N,L,D], w+ of the source.
            attributes: f32[N,A], 1 for the attribute that is put on, -1 for the one that is taken off, else 0.
            position_map: f16[N,S,S,3] of the source; only where F sees the 3D face.

    Raises:
        ValueError, FileNotFoundError, OSError: the data are unknown, do not fit, or cannot be written.
    """
    file = epath.Path(workdir) / f"targets_{_key(nets, trees)}.safetensors"
    with sharding.first_process_first():
        if not file.exists():
            made = make_pairs(nets, trees, {"train": nets.config.staged.targets, "validation": SHOWN})
            archive.write(file, {"learnt": made["train"], "shown": made["validation"]}, None)
            for other in file.parent.glob("targets_*.safetensors"):
                if other.name != file.name:
                    other.unlink()
    stored = archive.unflatten(archive.load(file))
    return stored["learnt"], stored["shown"]


def _key(nets: Networks, trees: dict[str, Tree]) -> str:
    """Returns a text that differs where the pairs would differ."""
    config = nets.config
    fields = ("dataset", "data_dir", "manual_dir", "resolution", "attributes", "seed")
    settings: dict[str, Any] = {name: getattr(config, name) for name in fields}
    settings |= {"targets": config.staged.targets, "sample_share": config.staged.sample_share}
    settings |= {"removal": config.fusion.removal, "position_network": config.fusion.position_network}
    text = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    maps = None if nets.position is None else nets.position.variables
    model = {name: trees[name] for name in ("ema_g", "buffers_g", "params_e", "w_avg")}
    return archive.fingerprint({"settings": text, "maps": maps, "model": model})


def make_pairs(
    nets: Networks, trees: dict[str, Tree], counts: Mapping[str, int], put_on: Wear | None = None
) -> dict[str, Arrays]:
    """Makes pairs; see `prepare`.

    Two rows in succession have one attribute, which the first puts on and the second takes off (`fusion.removal`).

    Args:
        nets: the networks of the stage's config.
        trees: the model.
        counts: number of pairs from each split of the data set.
        put_on: draws an attribute on a face, see `_wear`, which is the default.

    Returns:
        The arrays of each split.
    """
    faces = {split: dress_faces(nets, trees, count, split, put_on) for split, count in counts.items()}
    pairs = {split: _pair(nets.config, some) for split, some in faces.items()}
    source, edit = (np.concatenate([arrays[name] for arrays in pairs.values()]) for name in ("source", "attributes"))
    w_plus, drawn = (np.concatenate([getattr(some, name) for some in faces.values()]) for name in ("w_plus", "drawn"))
    found = _describe(nets, trees, source, w_plus, drawn, edit)  # of all at once: few rows would be compiled anew
    parts = {name: np.split(array, np.cumsum(list(counts.values()))[:-1]) for name, array in found.items()}
    return {split: pairs[split] | {name: part[k] for name, part in parts.items()} for k, split in enumerate(counts)}


def _pair(config: Config, faces: Dressed) -> Arrays:
    """Returns the arrays `source`, `target` and `attributes` of `prepare`."""
    count = len(faces.plain)
    removal = np.arange(count) % 2 == 1 if config.fusion.removal else np.zeros(count, bool)
    source, target = np.where(removal[:, None, None, None], (faces.worn, faces.plain), (faces.plain, faces.worn))
    attributes = np.zeros((count, config.num_attributes), np.float32)
    attributes[np.arange(count), faces.attributes] = np.where(removal, -1.0, 1.0)
    return {"source": source, "target": target, "attributes": attributes}


class Dressed(NamedTuple):
    """Faces without and with an attribute.

    Attributes:
        plain: u8[N,R,R,3].
        worn: u8[N,R,R,3], the same faces with the attribute.
        attributes: i32[N], the attributes, ids of the config.
        drawn: bool[N], the faces that G drew.
        w_plus: f32[n,L,D], the latents of these n faces.
    """

    plain: np.ndarray
    worn: np.ndarray
    attributes: np.ndarray
    drawn: np.ndarray
    w_plus: np.ndarray


def dress_faces(nets: Networks, trees: dict[str, Tree], count: int, split: str, put_on: Wear | None = None) -> Dressed:
    """Makes faces without and with an attribute: `count` of a split; for the other arguments see `make_pairs`."""
    config = nets.config
    attributes = 1 + np.arange(count) // 2 % (config.num_attributes - 1)
    drawn = round(config.staged.sample_share * count) if split == "train" else 0
    dress = _Dresser(config, nets.position, put_on or _wear)
    plain, worn = np.empty((2, count, config.resolution, config.resolution, 3), np.uint8)
    chosen = np.zeros(count, bool)  # rows whose face G draws
    chosen[np.random.default_rng(config.seed).permutation(count)[:drawn]] = True
    w_plus = np.zeros((drawn, config.num_layers, config.generator.latent_dim), np.float32)
    with tqdm.tqdm(total=count, desc=f"Faces with attributes, {split}", unit="face", mininterval=0.5) as bar:
        if drawn:
            w_plus, plain[chosen] = _draw(nets, trees, drawn)
            worn[chosen] = dress(plain[chosen], attributes[chosen], bar)
        if drawn < count:
            read = _rendered if is_rendered(config) else _photographed
            plain[~chosen], worn[~chosen] = read(config, attributes[~chosen], split, dress, bar)
    return Dressed(plain, worn, attributes, chosen, w_plus)


def is_rendered(config: Config) -> bool:
    """Tells whether the faces are rendered ones, whose truth is known."""
    named = names.parse(config.dataset)
    return named is not None and named.source == names.RENDERED


def _rendered(
    config: Config, attributes: np.ndarray, split: str, dress: _Dresser, bar: tqdm.tqdm
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rendered faces u8[n,R,R,3] without and with their attributes; a short split is used several times."""
    del dress
    faces = rendered.read(config.dataset, split, config.data_dir, len(attributes))
    rows = _cycle(len(attributes), len(faces.labels))
    params, labels = faces.params[rows], [tfds_megn.ATTRIBUTES[label] for label in faces.labels[rows]]
    wanted = [config.attributes[attribute] for attribute in attributes]
    results = []
    for looks in (["none"] * len(rows), wanted):
        images = faces.images[rows]
        missing = np.flatnonzero([look != label for look, label in zip(looks, labels, strict=True)])
        images[missing] = rendered.render(
            params[missing], [looks[row] for row in missing], config.resolution, lambda n: bar.update(n / 2)
        )
        bar.update((len(rows) - len(missing)) / 2)
        results.append(images)
    return results[0], results[1]


def _photographed(
    config: Config, attributes: np.ndarray, split: str, dress: _Dresser, bar: tqdm.tqdm
) -> tuple[np.ndarray, np.ndarray]:
    """Returns faces u8[n,R,R,3] of a data set without attribute, used several times if need be, and wearing one."""
    plain = stream.plain_images(config, len(attributes), split)
    plain = plain[_cycle(len(attributes), len(plain))]
    return plain, dress(plain, attributes, bar)


def _cycle(count: int, faces: int) -> np.ndarray:
    """Returns the faces i32[count] of pairs; each cycle through all faces is shifted, so that it differs."""
    rows = np.arange(count)
    return (rows + rows // faces) % faces


@dataclasses.dataclass(frozen=True)
class _Dresser:
    """Puts attributes on faces of any kind, by the position maps found."""

    config: Config
    position: PositionNetwork | MeshNetwork | None  # that of F, if there is one
    put_on: Wear

    def __call__(self, images: np.ndarray, attributes: np.ndarray, bar: tqdm.tqdm) -> np.ndarray:
        """Returns faces u8[n,R,R,3] wearing the attributes i32[n], each in a style of its own."""
        network = self.position or pretrained.position_network(self.config.fusion.position_network)
        maps = map_batches(jax.jit(lambda some: network(pictures.to_float(some))), images, size=_BATCH)
        worn = np.empty_like(images)
        for row, attribute in enumerate(attributes):
            name = self.config.attributes[attribute]
            seed = int(np.random.default_rng((self.config.seed, row)).integers(2**31))
            worn[row] = self.put_on(images[row], np.asarray(maps[row]), name, seed, network.uv_layout)
            bar.update()
        return worn


def _wear(image: np.ndarray, position_map: np.ndarray, attribute: str, seed: int, layout: Layout) -> np.ndarray:
    """Draws an attribute in a random style.

    Args:
        image: u8[R,R,3].
        position_map: f32[S,S,3], in pixels of the image.
        attribute: name of the attribute.
        seed: random seed of the style.
        layout: layout of the position map.

    Returns:
        u8[R,R,3].
    """
    style = styles.random_style(attribute, seed)
    worn, _ = wear.wear(jnp.asarray(pictures.to_float(image)), jnp.asarray(position_map), attribute, style, layout)
    return pictures.to_uint8(np.asarray(worn))


def _draw(nets: Networks, trees: dict[str, Tree], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws faces without attribute by G: their w+ f32[n,L,D], and the images u8[n,R,R,3]."""
    config = nets.config
    key = jax.random.fold_in(jax.random.key(config.seed), _SAMPLES)
    z = np.asarray(jax.random.normal(key, (count, config.generator.latent_dim)))

    @jax.jit
    def draw(variables: Tree, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        w_plus = latents.broadcast_layers(nets.map(variables, z), config.num_layers)
        return w_plus, nets.synthesize(variables, w_plus, "const")

    variables = {"params": trees["ema_g"], "buffers": trees["buffers_g"]}
    w_plus, images = jax.device_get(map_batches(lambda some: draw(variables, some), z, size=_BATCH))
    return w_plus, pictures.to_uint8(images)


def _describe(
    nets: Networks, trees: dict[str, Tree], source: np.ndarray, w_plus: np.ndarray, drawn: np.ndarray, edit: np.ndarray
) -> Arrays:
    """Computes the latents of faces, G's pictures of the latents, and position maps.

    Args:
        nets: the networks.
        trees: the model.
        source: u8[N,R,R,3], the faces.
        w_plus: f32[n,L,D], the latents that the first n faces marked in `drawn` were drawn from.
        drawn: bool[N], the faces that G drew.
        edit: f32[N,A], weights of the edits. A face that wears what its edit takes off has another latent than the one
            it was drawn from.

    Returns:
        The arrays `latent`, `reconstruction` and `position_map` of `prepare`.
    """
    known = drawn & (edit >= 0).all(1)
    given = np.zeros((len(source), *w_plus.shape[1:]), np.float32)
    given[drawn] = w_plus

    @jax.jit
    def describe(
        trees: Tree, some: jax.Array, edit: jax.Array, given: jax.Array, known: jax.Array
    ) -> dict[str, jax.Array]:
        images = pictures.to_float(some)
        variables = {"params": trees["ema_g"], "buffers": trees["buffers_g"]}
        latent = nets.encode(trees["params_e"], images, trees["w_avg"], edit)
        latent = jnp.where(known[:, None, None], given, latent)
        found = {"latent": latent, "reconstruction": nets.synthesize(variables, latent, "const")}
        if nets.position is not None:
            found["position_map"] = nets.position(images).astype(jnp.float16)
        return found

    with tqdm.tqdm(total=len(source), desc="Latents", unit="face", mininterval=0.5) as bar:

        def run(*rows: np.ndarray) -> Arrays:
            found = jax.device_get(describe(trees, *rows))
            found["reconstruction"] = pictures.to_uint8(found["reconstruction"])
            bar.update(min(_BATCH, len(source) - int(bar.n)))
            return found

        return map_batches(run, source, edit, given, known, size=_BATCH)
