"""Stage `basis` of the recipe `staged`: the prior basis B in w, by all estimators, with a report.

G draws faces of random latents, and the attribute classifier judges them; the estimators of `latents` find the
directions. Nothing is trained.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import latents, outputs, pictures, pretrained
from sdgan_jax.config import ESTIMATORS, Config
from sdgan_jax.data.batches import map_batches
from sdgan_jax.latents import Directions
from sdgan_jax.networks import Networks
from sdgan_jax.pretrained import AttributeClassifier, archive, directories
from sdgan_jax.pretrained.archive import Tree
from sdgan_jax.training import sharding
from sdgan_jax.training import workdir as workdir_lib
from sdgan_jax.training.gan import basis_lengths, basis_report, targets, weights
from sdgan_jax.training.gan.state import State, init_state

_SAMPLES, _LENGTHS = 77, 78  # folded into the keys of the latents
_PLAIN = 200  # latents that the report moves: those of the random seeds 0, 1, …, as `experiments.generate` draws them
_BATCH = 32
_SAME = 0.2  # relative change of the basis up to which the model keeps its F


class Samples(NamedTuple):
    """Latents of G and the attributes that the classifier sees in their faces.

    Attributes:
        w: f32[N,D].
        scores: f32[N,A], log odds of each attribute of the config.
        labels: i32[N], the likeliest attribute, an id of the config; -1 for one that the config lacks.
    """

    w: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def train(nets: Networks, workdir: epath.PathLike) -> State:
    """Estimates B and writes a model directory with it; returns at once where the result is there already.

    The model is `config.init` with the B of the estimator `config.staged.basis`: each row as long as its direction,
    relative to their mean length, which is `basis_length`. Beside it are written `bases.safetensors` (all estimators),
    `basis.json` and `basis.txt` (the report), and `traversal_<estimator>.png`.

    Args:
        nets: the networks of a validated config.
        workdir: local or remote directory; made when it is not there.

    Returns:
        The state of the new model.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: config, model and workdir do not fit together, or an attribute
            has no direction.
        OSError: the results cannot be written.
        KeyboardInterrupt: Ctrl-C came; nothing is kept of the stage.
    """
    workdir, config = epath.Path(workdir), nets.config
    with sharding.first_process_first():
        model = None if _is_done(workdir, config) else _read_model(config, workdir)
        fresh = jax.jit(functools.partial(init_state, nets))()
        if model is not None:
            with outputs.alone_in(workdir):
                try:
                    _run(nets, fresh, model, workdir)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt("stopped; the same command starts the stage basis again") from None
    written = workdir_lib.load_config(workdir, Config)  # whose basis length the stage has measured
    return weights.start_from(fresh, written, workdir)[0]


def check(config: Config, source: Config, trees: dict[str, Tree]) -> None:
    """Checks that a basis can be estimated for a model.

    Args:
        config: config of the stage.
        source: config of the model that it starts from.
        trees: arrays of that model, as `weights.read` returns them.

    Raises:
        ValueError: the model does not fit; the message says what to change.
    """
    if config.latent_space != "w" or source.latent_space != "w":
        raise ValueError(f"{config.init} adds its basis to z (config.latent_space); a basis is estimated in w only")
    if source.generator.label_dim:
        raise ValueError(f"{config.init} is a conditional network, whose latents depend on a class; give another model")
    check_config(config)
    _check_learned(config, source)
    if config.staged.basis == "paired" and not trees.get("params_e"):
        raise ValueError(
            f"{config.init} has no encoder, which the estimator paired needs; train one by the stage encoder "
            f"(config.staged.stages), or choose another: {', '.join(n for n in ESTIMATORS if n != 'paired')}"
        )


def check_config(config: Config) -> None:
    """Checks what of `check` needs no model.

    Raises:
        ValueError: an attribute is unknown, or there are too few samples; the message says what to change.
    """
    if config.num_attributes == 1:
        raise ValueError("config.attributes is ('none',); name the attributes that the basis is to have")
    if reason := pretrained.attribute_refusal(config.attributes):
        raise ValueError(f"config.attributes: {reason}")
    staged, attributes = config.staged, config.num_attributes - 1
    by_class = staged.basis in ("means", "svm", "svm_conditional")
    fewest = latents.FEWEST * (1 + attributes) if by_class else 2 * latents.FEWEST  # for the SVMs of the report
    if staged.basis_samples < fewest:
        raise ValueError(
            f"config.staged.basis_samples is {staged.basis_samples}; the estimators need {fewest} latents for "
            f"{attributes} attributes, and are good from thousands on"
        )
    if staged.length_samples == 1:
        raise ValueError("config.staged.length_samples is 1; compare 2 faces or more, or set 0 to keep the lengths")
    pairs = (latents.FEWEST if staged.basis == "paired" else 2 if staged.length_samples else 0) * attributes
    for name in ("basis_samples", "targets"):
        if getattr(staged, name) < pairs:
            raise ValueError(
                f"config.staged.{name} is {getattr(staged, name)}; the stage basis needs {pairs} pairs of faces for "
                f"{attributes} attributes"
            )


def _is_done(workdir: epath.Path, config: Config) -> bool:
    """Returns whether the result is in the workdir; raises `ValueError` where that of another config is."""
    if (workdir / directories.CONFIG).exists():
        length = workdir_lib.load_config(workdir, Config).basis_length  # which the stage has set
        workdir_lib.check_config(workdir, dataclasses.replace(config, basis_length=length))
    return (workdir / basis_report.JSON).exists()


def _check_learned(config: Config, source: Config) -> None:
    """Refuses the estimator `random`, which keeps the basis of G, for a model whose G has not learned it.

    Args:
        config: config of the stage.
        source: config of the model.

    Raises:
        ValueError: an attribute has no row in the basis of the model.
    """
    shared = weights.shared_rows(config, source)
    if config.staged.basis == "random" and len(shared) < config.num_attributes - 1:
        new = ", ".join(name for name in config.attributes[1:] if name not in shared)
        raise ValueError(
            f"the estimator random keeps the basis that G has learned, but {config.init} has learned no {new}; "
            f"choose another: {', '.join(name for name in ESTIMATORS if name != 'random')}"
        )


def _read_model(config: Config, workdir: epath.Path) -> tuple[Config, dict[str, Tree]]:
    """Reads the model that the stage starts from, config and arrays, after a check of the workdir; see `check`."""
    if not config.init:
        raise ValueError("config.init is empty; the stage basis starts from a model directory")
    outputs.check_own([workdir / name for name in basis_report.FILES], basis_report.BY)
    nets, trees = weights.read(config.init)
    check(config, nets.config, trees)
    return nets.config, trees


def _run(nets: Networks, fresh: State, model: tuple[Config, dict[str, Tree]], workdir: epath.Path) -> None:
    """Estimates, measures and writes; `fresh` is the state at step 0."""
    config, (source, trees) = nets.config, model
    if weights.shared_rows(config, source):  # the B that the model has is as long as its own config says
        nets = dataclasses.replace(nets, config=dataclasses.replace(config, basis_length=source.basis_length))
    frozen = ("ema_g", "buffers_g", *(["params_e"] if trees.get("params_e") else []))
    state, said = weights.start_from(fresh, nets.config, config.init, frozen)
    print(said)
    classifier = pretrained.attribute_classifier()
    probe = make_probe(nets, state, classifier)
    samples = sample(nets, state, probe, source.attributes)
    faces = None
    if trees.get("params_e") or config.staged.length_samples:
        count = min(config.staged.basis_samples, config.staged.targets)
        faces = targets.dress_faces(nets, trees, count, "train")
    found, accuracy = estimate(nets, state, samples, trees, faces)
    chosen = found[config.staged.basis]
    if faces and config.staged.length_samples:
        chosen = chosen._replace(lengths=_fit_lengths(nets, state, probe, classifier, chosen, faces))
        found[config.staged.basis] = chosen
    length = _length_of(config, chosen)
    results = {
        "model": str(config.init),
        "estimator": config.staged.basis,
        "basis_length": length,
        "samples": len(samples.w),
        "classifier": {
            "held_out_accuracy": classifier.held_out_accuracy,
            "held_out_images": classifier.held_out_images,
        },
        **basis_report.measure(probe, config, found, accuracy, samples.labels),
    }
    basis_report.write(workdir, probe, config, found, results)
    arrays = {name: directions._asdict() for name, directions in found.items()}
    archive.write(workdir / directories.BASES, arrays)
    held = {name: getattr(state, name) for name in weights.FIELDS if jax.tree.leaves(trees.get(name))}
    held["basis"] = chosen.lengths[:, None] / length * chosen.rows
    if "params_f" in held and _change(nets.config.basis_length * state.basis, length * held["basis"]) > _SAME:
        del held["params_f"]
        print("  F is left out: it was trained with another basis; train it again by the stage fusion")
    weights.write(workdir, dataclasses.replace(config, basis_length=length), held)
    outputs.write_json(workdir / basis_report.JSON, results, basis_report.BY)  # last: its presence means all is there


def sample(nets: Networks, state: State, probe: basis_report.Probe, drawn: tuple[str, ...]) -> Samples:
    """Draws `config.staged.basis_samples` latents of G, and judges their faces.

    Args:
        nets: the networks.
        state: its averaged G draws; its basis moves the latents.
        probe: judges the faces.
        drawn: attributes that G was trained with; each is drawn equally often. With `none` alone (a plain G) no
            latent is moved.

    Returns:
        The samples.
    """
    config, variables = nets.config, state.variables_ema
    ids = np.array([i for i, name in enumerate(config.attributes) if name in drawn])
    count = config.staged.basis_samples
    key = jax.random.fold_in(jax.random.key(config.seed), _SAMPLES)
    z = np.asarray(jax.random.normal(key, (count, config.generator.latent_dim)))
    wanted = np.eye(config.num_attributes, dtype=np.float32)[ids[np.arange(count) % len(ids)]]
    to_w = jax.jit(lambda variables, basis, z, wanted: nets.to_w_plus(variables, z, wanted, basis)[:, 0])
    with tqdm.tqdm(total=-(-count // _BATCH), desc="Judging latents", unit="batch", mininterval=0.5) as bar:

        def judge(z: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            w = np.asarray(to_w(variables, state.basis, z, wanted))
            bar.update()
            return w, probe.judge(w)

        w, logits = map_batches(judge, z, wanted, size=_BATCH)
    columns = attribute_columns(config)
    ours = np.full(logits.shape[1], -1, np.int32)
    ours[columns] = np.arange(len(columns))
    return Samples(w, log_odds(logits)[:, columns], ours[logits.argmax(axis=1)])


def estimate(
    nets: Networks, state: State, samples: Samples, trees: dict[str, Tree], faces: targets.Dressed | None
) -> tuple[dict[str, Directions], np.ndarray]:
    """Applies all estimators.

    Args:
        nets: the networks.
        state: its basis is the estimator `random`.
        samples: see `sample`.
        trees: the model; where its `params_e` is missing or empty there is no `paired`.
        faces: faces without and with an attribute, which `paired` encodes.

    Returns:
        The directions by the name of the estimator, and the held-out accuracy f32[A] of the SVMs.
    """
    config = nets.config
    own = np.asarray(state.basis)
    svm, accuracy = latents.svm_basis(samples.w, samples.scores, samples.labels, config.seed)
    found = {
        "random": Directions(latents.unit(own), config.basis_length * np.linalg.norm(own, axis=1)),
        "means": latents.means_basis(samples.w, samples.labels, config.num_attributes),
        "svm": svm,
        "svm_conditional": latents.conditional_basis(svm, samples.w, samples.labels),
    }
    if faces and trees.get("params_e"):
        found["paired"] = _paired(nets, trees, faces)
    return found, accuracy


def _paired(nets: Networks, trees: dict[str, Tree], faces: targets.Dressed) -> Directions:
    """Encodes faces without and with an attribute, those that the stage `fusion` takes, and applies `paired`."""

    @jax.jit
    def encode(params_e: Tree, w_avg: jax.Array, faces: jax.Array) -> jax.Array:
        return nets.encode(params_e, pictures.to_float(faces), w_avg).mean(axis=1)  # [n,L,D] -> [n,D]

    worn, plain = (
        map_batches(lambda some: np.asarray(encode(trees["params_e"], trees["w_avg"], some)), images, size=_BATCH)
        for images in (faces.worn, faces.plain)
    )
    return latents.paired_basis(worn, plain, faces.attributes, nets.config.num_attributes)


def _fit_lengths(
    nets: Networks,
    state: State,
    probe: basis_report.Probe,
    classifier: AttributeClassifier,
    directions: Directions,
    faces: targets.Dressed,
) -> np.ndarray:
    """Finds lengths f32[A] of directions by `basis_lengths`; faces that wear an attribute are the real ones."""
    config, count = nets.config, nets.config.staged.length_samples
    classify = jax.jit(classifier)

    def features(images: np.ndarray) -> np.ndarray:
        return map_batches(lambda some: np.asarray(classify(some)[1]), images, size=_BATCH)

    real = {
        attribute: features(pictures.to_float(faces.worn[faces.attributes == attribute][:count]))
        for attribute in range(1, config.num_attributes)
    }
    key = jax.random.fold_in(jax.random.key(config.seed), _LENGTHS)
    z = jax.random.normal(key, (count, config.generator.latent_dim))
    w = np.asarray(jax.jit(nets.map)(state.variables_ema, z))
    return basis_lengths.fit(directions, w, lambda w: features(probe.draw(w).clip(-1.0, 1.0)), real)


def make_probe(nets: Networks, state: State, classifier: AttributeClassifier) -> basis_report.Probe:
    """Makes the functions that draw and judge the faces of latents w of the averaged G."""
    config, variables = nets.config, state.variables_ema

    def draw(variables: Tree, w: jax.Array) -> jax.Array:
        return nets.synthesize(variables, latents.broadcast_layers(w, config.num_layers), "const")

    def judge(variables: Tree, w: jax.Array) -> jax.Array:
        return classifier(jnp.clip(draw(variables, w), -1.0, 1.0))[0]

    def in_batches(function: Callable[[Tree, jax.Array], jax.Array]) -> Callable[[np.ndarray], np.ndarray]:
        compiled = jax.jit(function)
        return lambda w: map_batches(lambda some: np.asarray(compiled(variables, some)), w, size=_BATCH)

    keys = jax.vmap(jax.random.key)(jnp.arange(_PLAIN))
    z = jax.vmap(lambda key: jax.random.normal(key, (config.generator.latent_dim,)))(keys)
    columns, w = attribute_columns(config), jax.jit(nets.map)(variables, z)
    return basis_report.Probe(in_batches(draw), in_batches(judge), columns, np.asarray(w))


def attribute_columns(config: Config) -> list[int]:
    """Returns the column of the classifier's logits for each attribute of the config."""
    return [tfds_megn.ATTRIBUTES.index(name) for name in config.attributes]


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Returns log(p / (1 - p)) f32[N,C] of the softmax p of logits f32[N,C]; finite where p rounds to 0 or 1."""
    others = np.where(np.eye(logits.shape[1], dtype=bool), -np.inf, logits[:, None])  # [N,C,C]
    return logits - np.asarray(jax.nn.logsumexp(others, axis=-1))


def _change(before: jax.Array, after: np.ndarray) -> float:
    """Returns the largest change of a row f32[A,D], relative to its length; 0 for rows that stay."""
    change, length = (np.linalg.norm(rows, axis=1)[1:] for rows in (after - np.asarray(before), np.asarray(before)))
    return float((change / np.maximum(length, 1e-12)).max())


def _length_of(config: Config, directions: Directions) -> float:
    """Returns the basis length of the written model: the mean of the natural lengths.

    Raises:
        ValueError: an attribute has no direction, or the directions lead away from their attributes.
    """
    estimator = config.staged.basis
    missing = [n for n, row in zip(config.attributes[1:], directions.rows[1:], strict=True) if not row.any()]
    if missing:
        raise ValueError(
            f"the estimator {estimator} has no direction for {', '.join(missing)}: among "
            f"{config.staged.basis_samples} samples fewer than {latents.FEWEST} show it (or none shows a plain face); "
            "take more samples, or another estimator"
        )
    length = float(directions.lengths[1:].mean())
    if not (math.isfinite(length) and length > 0):
        raise ValueError(
            f"the directions of the estimator {estimator} have the mean length {length:.3g}; choose another"
        )
    return length
