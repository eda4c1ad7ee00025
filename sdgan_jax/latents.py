"""Semantic decomposition: an attribute is a direction in latent space plus an offset for each face.

    edited latent = latent + strength · (B[y] + O)

B is the semantic prior basis, one fixed direction per attribute, and O the offset that the fusion network predicts for
each face (SD-GAN, arXiv 2207.05300). Several attributes are added. Training, generation, editing and evaluation all
move latents by the functions of this module.

B has four estimators: `random_basis`, `means_basis`, `svm_basis` (with `conditional_basis`) and `paired_basis`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

Attribute = str | Sequence[str] | np.ndarray | jax.Array

EXTREMES = 0.02  # share of the latents on either side that `svm_basis` separates (InterFaceGAN)
SVM_TRAINING = 0.7  # share of these that the SVM learns from; the others measure it (InterFaceGAN)
FEWEST = 4  # latents with an attribute, below which its direction is not estimated


class Directions(NamedTuple):
    """Directions of all attributes in latent space, as an estimator returns them.

    Attributes:
        rows: f32[A,D] of unit length; zero for `none`, and for an attribute with fewer than `FEWEST` latents.
        lengths: f32[A], natural lengths: the mean distance along the row from latents without any attribute to those
            with this one; 0 where the row is zero.
    """

    rows: np.ndarray
    lengths: np.ndarray


@flax.struct.dataclass
class Latents:
    """Random latents of a batch. Without style mixing the last two are None."""

    z: jax.Array  # f32[n,D]
    other: jax.Array | None  # f32[n,D]
    crossover: jax.Array | None  # i32[n], first layer that uses `other`; L where none does


def single_attributes(attributes: jax.Array, most: int) -> list[jax.Array]:
    """Splits weights f32[N,A] into as many as `most` that have one attribute in each row, the largest first."""
    _, order = jax.lax.top_k(jnp.abs(attributes[:, 1:]), most)
    return [attributes * jax.nn.one_hot(1 + places, attributes.shape[1]) for places in order.T]


def random_basis(key: jax.Array, num_attributes: int, dim: int) -> jax.Array:
    """Draws normalised Gaussian directions, the basis of the SD-GAN pseudo-code.

    Args:
        key: PRNG key.
        num_attributes: A, `none` included.
        dim: D, size of the latent.

    Returns:
        f32[A,D]; row 0 (`none`) is zero, the others have unit length.
    """
    rows = jax.random.normal(key, (num_attributes - 1, dim))
    rows = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    return jnp.concatenate((jnp.zeros((1, dim)), rows))


def from_seeds(seeds: Sequence[int], dim: int) -> np.ndarray:
    """Draws a latent z for each random seed; a seed always gives the same one.

    Args:
        seeds: non-negative ints.
        dim: D.

    Returns:
        f32[N,D], standard normal.
    """
    return np.stack([jax.random.normal(jax.random.key(seed), (dim,)) for seed in seeds])


def means_basis(latents: np.ndarray, labels: np.ndarray, num_attributes: int) -> Directions:
    """Estimates directions as differences of class means: the mean latent of attribute y minus that of `none`.

    Args:
        latents: f32[N,D].
        labels: int[N], attribute ids; latents with another number belong to no class.
        num_attributes: A, `none` included.

    Returns:
        The directions.
    """
    members = [latents[labels == attribute] for attribute in range(num_attributes)]
    rows = np.zeros((num_attributes, latents.shape[1]), np.float32)
    for attribute in range(1, num_attributes):
        if min(len(members[0]), len(members[attribute])) >= FEWEST:
            rows[attribute] = members[attribute].mean(axis=0) - members[0].mean(axis=0)
    return _with_lengths(unit(rows), latents, labels)


def svm_basis(
    latents: np.ndarray, scores: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[Directions, np.ndarray]:
    """Estimates directions as normals of linear SVMs (InterFaceGAN, Shen et al. 2020).

    For each attribute the latents are sorted by its score. A linear SVM separates those with the highest scores from
    those with the lowest, 2 % of all on either side; it learns from 70 % of them and is measured on the others. The
    direction is the unit normal of its boundary.

    Args:
        latents: f32[N,D].
        scores: f32[N,A], such as the log odds of each attribute by a classifier.
        labels: int[N], attribute ids, for the natural lengths; see `means_basis`.
        seed: random seed of the split.

    Returns:
        The directions, and f32[A], the accuracy of each SVM on the held-out latents; NaN where there is no SVM.

    Raises:
        ValueError: there are too few latents.
    """
    from sklearn import svm  # here, since it takes a second to import

    count = max(FEWEST, round(EXTREMES * len(latents)))
    if len(latents) < 2 * count:
        raise ValueError(f"an SVM needs at least {2 * FEWEST} latents; there are {len(latents)}")
    learned = round(SVM_TRAINING * count)
    rng, num_attributes = np.random.default_rng(seed), scores.shape[1]
    rows = np.zeros((num_attributes, latents.shape[1]), np.float32)
    accuracy = np.full(num_attributes, np.nan, np.float32)
    sides = np.repeat((1, 0), count).reshape(2, count)
    for attribute in range(1, num_attributes):
        if min((labels == 0).sum(), (labels == attribute).sum()) < FEWEST:
            continue
        order = np.argsort(scores[:, attribute], kind="stable")
        extremes = np.stack([rng.permutation(order[-count:]), rng.permutation(order[:count])])  # [2,count]
        train, test = extremes[:, :learned], extremes[:, learned:]
        machine = svm.SVC(kernel="linear").fit(latents[train.ravel()], sides[:, :learned].ravel())
        accuracy[attribute] = machine.score(latents[test.ravel()], sides[:, learned:].ravel())
        rows[attribute] = machine.coef_[0]
    return _with_lengths(unit(rows), latents, labels), accuracy


def paired_basis(attired: np.ndarray, plain: np.ndarray, labels: np.ndarray, num_attributes: int) -> Directions:
    """Estimates directions from pairs: the mean of E(face wearing y) - E(same face), E the encoder.

    Args:
        attired: f32[N,D], latents of faces with an attribute.
        plain: f32[N,D], latents of the same faces without it.
        labels: int[N], the attribute of each pair.
        num_attributes: A, `none` included.

    Returns:
        The directions; the natural length is the norm of the mean.
    """
    rows = np.zeros((num_attributes, attired.shape[1]), np.float32)
    for attribute in range(1, num_attributes):
        if (labels == attribute).sum() >= FEWEST:
            rows[attribute] = (attired - plain)[labels == attribute].mean(axis=0)
    return Directions(unit(rows), np.linalg.norm(rows, axis=1))


def conditional_basis(directions: Directions, latents: np.ndarray, labels: np.ndarray) -> Directions:
    """Removes from each direction those of all other attributes (`project_out`); arguments as of `means_basis`."""
    rows = directions.rows
    removed = [project_out(row, np.delete(rows, attribute, axis=0)) for attribute, row in enumerate(rows)]
    return _with_lengths(np.stack(removed), latents, labels)


def project_out(direction: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Removes other directions from one, InterFaceGAN's conditional manipulation: n - Σ_k a_k m_k.

    The coefficients solve the Gram system M Mᵀ a = M n, so that the result is orthogonal to all rows m_k of M. With one
    other direction of unit length this is n - (n·m) m.

    Args:
        direction: f32[D].
        others: f32[K,D]; zero rows count for nothing.

    Returns:
        f32[D] of unit length; zero where the others span the direction.
    """
    coefficients = np.linalg.lstsq(others @ others.T, others @ direction)[0]  # the Gram matrix may be singular
    rest = direction - coefficients @ others
    vanished = np.linalg.norm(rest) <= 1e-4 * np.linalg.norm(direction)
    return np.zeros_like(direction) if vanished else (rest / np.linalg.norm(rest)).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Scales the rows of f32[A,D] to unit length; rows of zeros stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def _with_lengths(rows: np.ndarray, latents: np.ndarray, labels: np.ndarray) -> Directions:
    """Measures along each unit row of f32[A,D] the distance of its class mean from that of `none`."""
    lengths = np.zeros(len(rows), np.float32)
    for attribute in np.flatnonzero(rows.any(axis=1)):
        there, here = (latents[labels == number] @ rows[attribute] for number in (attribute, 0))
        lengths[attribute] = there.mean() - here.mean()
    return Directions(rows, lengths)


def edit(
    latent: jax.Array,
    attributes: jax.Array,
    basis: jax.Array,
    offset: jax.Array | float = 0.0,
    strength: float = 1.0,
) -> jax.Array:
    """Moves latents: latent + strength · (B[y] + O).

    Args:
        latent: f32[N,D] (z or w) or f32[N,L,D] (w+).
        attributes: f32[N,A] weights: 1 puts an attribute on, -1 takes it off.
        basis: f32[A,D], row 0 zero.
        offset: like `latent`, or 0.
        strength: 0 leaves the latent alone, 1 is the full edit.

    Returns:
        Like `latent`.
    """
    direction = attributes @ basis  # [N,D]
    if latent.ndim == 3:
        direction = direction[:, None]
    return latent + strength * (direction + offset)


def truncate(w: jax.Array, w_avg: jax.Array, psi: float, cutoff: int | None = None) -> jax.Array:
    """Pulls latents towards the average w: w_avg + psi (w - w_avg).

    Args:
        w: f32[...,D], or w+ f32[N,L,D] where `cutoff` is given.
        w_avg: f32[D].
        psi: 1 changes nothing, 0 gives the average.
        cutoff: only the first `cutoff` layers are pulled; None pulls all.

    Returns:
        Like `w`.
    """
    pulled = w_avg + psi * (w - w_avg)
    return pulled if cutoff is None else jnp.where(jnp.arange(w.shape[-2])[:, None] < cutoff, pulled, w)


def broadcast_layers(w: jax.Array, num_layers: int) -> jax.Array:
    """Repeats w f32[N,D] for each synthesis layer: w+ f32[N,L,D]."""
    return jnp.broadcast_to(w[:, None], (w.shape[0], num_layers, w.shape[1]))


def mix(first: jax.Array, second: jax.Array, crossover: jax.Array | int) -> jax.Array:
    """Mixes styles: takes the layers before `crossover` from one w+, the others from another.

    Args:
        first: f32[N,L,D].
        second: f32[N,L,D].
        crossover: i32[N], or one for all; L leaves `first` as it is.

    Returns:
        f32[N,L,D].
    """
    layers = jnp.arange(first.shape[1])
    return jnp.where((layers < jnp.asarray(crossover)[..., None])[..., None], first, second)


def to_w_plus(
    latent: jax.Array,
    attributes: jax.Array,
    basis: jax.Array,
    *,
    space: str,
    mapping: Callable[[jax.Array], jax.Array],
    num_layers: int,
    offset: jax.Array | None = None,
    strength: float = 1.0,
    w_avg: jax.Array | None = None,
    truncation: float = 1.0,
    truncation_cutoff: int | None = None,
) -> jax.Array:
    """Maps z and attributes to w+, by the decomposition in the latent space of a config.

    In "z" the latent is moved, mapped, and truncated, in this order (as the published release does). In "w" it is
    mapped and truncated before it is moved, so that truncation does not weaken the attribute.

    Args:
        latent: f32[N,D], z.
        attributes: f32[N,A] weights.
        basis: f32[A,D].
        space: "z" or "w".
        mapping: z f32[N,D] to w f32[N,D].
        num_layers: L.
        offset: f32[N,1,D] in "z", f32[N,L,D] in "w", or None for the basis alone.
        strength: factor of the edit, 1 for the full one.
        w_avg: f32[D]; needed when `truncation` is not 1.
        truncation: psi.
        truncation_cutoff: layers that are truncated, None for all.

    Returns:
        f32[N,L,D].
    """

    def pull(w: jax.Array) -> jax.Array:
        w_plus = broadcast_layers(w, num_layers)
        return w_plus if w_avg is None else truncate(w_plus, w_avg, truncation, truncation_cutoff)

    if space == "z":
        moved = edit(latent, attributes, basis, 0.0 if offset is None else offset[:, 0], strength)
        return pull(mapping(moved))
    return edit(pull(mapping(latent)), attributes, basis, 0.0 if offset is None else offset, strength)


def attribute_weights(
    attribute: Attribute, names: Sequence[str], count: int, remove: str | Sequence[str] | None = None
) -> np.ndarray:
    """Returns the weights f32[N,A] of the attributes that a user asks for.

    Args:
        attribute: a name, a list of names (their sum), or ids int[N], one a sample.
        names: all names, `none` first.
        count: N.
        remove: a name or a list of names to take off each face.

    Returns:
        f32[N,A]: 1 for an attribute to put on, -1 for one to take off; column 0 is 1 where no other is set.

    Raises:
        ValueError: for an unknown name or id, naming the known ones; for an attribute to put on and to take off.
    """
    weights = np.zeros((count, len(names)), np.float32)
    if attribute is None:
        raise ValueError(f"attribute is None; give a name, or several: {', '.join(names)}")
    if isinstance(attribute, str) or (isinstance(attribute, Sequence) and all(isinstance(a, str) for a in attribute)):
        weights[:, _columns(attribute, names)] = 1.0
    else:
        ids = np.asarray(attribute)
        if ids.shape != (count,) or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"attribute ids must be int[{count}], one a sample; got {ids.dtype}{list(ids.shape)}")
        if ids.size and (ids.min() < 0 or ids.max() >= len(names)):
            raise ValueError(f"attribute ids must be from 0 to {len(names) - 1}; got {ids.min()} to {ids.max()}")
        weights[np.arange(count), ids] = 1.0
    for column in _columns(remove or (), names):
        if column == 0:
            raise ValueError(f"{names[0]!r} cannot be removed; the attributes are {', '.join(names[1:])}")
        if weights[:, column].any():
            raise ValueError(f"{names[column]!r} cannot be added and removed at once")
        weights[:, column] = -1.0
    weights[:, 0] = ~weights[:, 1:].any(1)
    return weights


def known_attributes(edit: jax.Array, exclusive: bool) -> jax.Array:
    """Returns what an edit tells of faces before it: they wear what it takes off.

    Args:
        edit: f32[N,A], weights of `attribute_weights`.
        exclusive: a face has one attribute, so that one that is taken off excludes the others.

    Returns:
        f32[N,A]: 1 for an attribute that is worn, 0 for one that is not, NaN where the edit does not tell.
    """
    removed = edit < 0
    excluded = exclusive & removed.any(1, keepdims=True)
    return jnp.where(removed, 1.0, jnp.where(excluded, 0.0, jnp.nan))


def _columns(chosen: str | Sequence[str], names: Sequence[str]) -> list[int]:
    """Returns the places of names among all names; raises `ValueError` for an unknown one, and for one too many."""
    chosen = [chosen] if isinstance(chosen, str) else chosen
    for name in chosen:
        if name not in names:
            raise ValueError(f"unknown attribute {name!r}; the known ones are {', '.join(names)}")
    if len(set(chosen)) < len(chosen) or (names[0] in chosen and len(chosen) > 1):
        raise ValueError(f"{', '.join(chosen)}: name each attribute once, and {names[0]!r} alone")
    return [list(names).index(name) for name in chosen]
