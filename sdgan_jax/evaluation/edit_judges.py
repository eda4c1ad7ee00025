"""Judges of edited faces: the frozen networks that look at them, and the columns of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import tfds_megn
from sdgan_jax import losses, pictures
from sdgan_jax.data import rendered
from sdgan_jax.data.batches import map_batches
from sdgan_jax.evaluation.edit_cases import Case
from sdgan_jax.metrics import frechet, monotonicity, region, verification
from sdgan_jax.pretrained import AttributeClassifier, PerceptualNetwork

THRESHOLD = 0.1  # of the mean difference of the colours, in [-1,1]: a pixel above it counts as changed
TOLERANCE = 0.02  # fall of a probability that still counts as rising
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
COLUMNS = {  # name -> explanation
    "accuracy": "share of the faces in which the classifier sees the attribute asked for (none after a removal)",
    "id_truth": "cosine of identity embeddings, to the true edited face",
    "id_source": "the same, to the source",
    "of_ceiling": "id_source over its value for the true edited face, the ceiling",
    "l1": "mean absolute difference to the true edited face; colours in [-1,1]",
    "l1_inside": "the same in the pixels in which the true edited face differs from the source",
    "l1_outside": "the same in all others, which must not change",
    "perceptual": "distance to the true edited face on features of the position and identity networks",
    "iou": f"overlap (IoU) of the changed region (difference to the source above {THRESHOLD}) with the true one",
    "frechet": "Fréchet distance of classifier features, to true edited faces of other persons",
    "monotone": "share of the faces whose probability of the attribute rises monotonically, strength 0 to 1.5",
}
WITHOUT_TRUTH = ("accuracy", "id_source", "frechet", "monotone")  # the columns that need no true edited faces
_BATCH = 16
_PAIRS, _PAIR_FACES = 2000, 1200  # pairs that the identity network is tested on; faces that they are drawn from

Values = dict[str, float | None]  # value of each column


class Seen(NamedTuple):
    """Outputs of the judges for images."""

    images: np.ndarray  # u8[N,R,R,3]
    logits: np.ndarray  # f32[N,6]
    features: np.ndarray  # f32[N,128], of the classifier
    embeddings: np.ndarray  # f32[N,E], unit vectors
    layers: tuple[np.ndarray, ...]  # f32[N,h,w,C], for `losses.perceptual`


class Judges:
    """The classifier and the networks of identity and perceptual features, compiled."""

    def __init__(self, classifier: AttributeClassifier, perceptual: PerceptualNetwork):
        """Compiles the networks; all of them take images of any size."""
        self.classifier, self.perceptual = classifier, perceptual

        def classify(images: jax.Array) -> tuple[jax.Array, jax.Array]:
            return classifier(pictures.to_float(images))

        def see(images: jax.Array) -> tuple[Any, ...]:
            floats = pictures.to_float(images)
            return *classify(images), perceptual.identity(floats), perceptual(floats)

        self._see, self._classify = jax.jit(see), jax.jit(classify)
        self._embed = jax.jit(lambda images: perceptual.identity(pictures.to_float(images)))
        self._distance: Callable[..., jax.Array] = jax.jit(losses.perceptual)

    def see(self, images: np.ndarray) -> Seen:
        """Applies all judges to images u8[N,R,R,3]."""
        return Seen(images, *_in_batches(self._see, images))

    def probabilities(self, images: np.ndarray, target: str) -> np.ndarray:
        """Computes the classifier's probability f32[N] of an attribute in images u8[N,R,R,3]."""
        logits, _ = _in_batches(self._classify, images)
        return np.asarray(jax.nn.softmax(jnp.asarray(logits)))[:, tfds_megn.ATTRIBUTES.index(target)]

    def classify(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes the classifier's logits f32[N,6] and features f32[N,128] of images u8[N,R,R,3]."""
        return _in_batches(self._classify, images)

    def compare(self, case: Case, seen: Seen, source: Seen, truth: Seen | None, references: np.ndarray) -> Values:
        """Measures edited faces: all columns but `monotone` and `of_ceiling`.

        Args:
            case: the case.
            seen: the edited faces.
            source: the faces before.
            truth: the true edited faces, None where they are unknown.
            references: f32[M,128], classifier features of the case's references.

        Returns:
            The mean over the faces by the name of the column; None for what cannot be measured.
        """
        target = tfds_megn.ATTRIBUTES.index(case.target)
        values = {
            "accuracy": seen.logits.argmax(1) == target,
            "id_source": (seen.embeddings * source.embeddings).sum(1),
        }
        if truth is not None:
            edited, before, after = (pictures.to_float(each.images) for each in (seen, source, truth))
            changes = region.changed(before, after, 0.0)
            distance = _in_batches(self._distance, seen.layers, truth.layers)
            values |= {
                "id_truth": (seen.embeddings * truth.embeddings).sum(1),
                "l1": region.mean_difference(edited, after),
                "l1_inside": region.mean_difference(edited, after, changes),
                "l1_outside": region.mean_difference(edited, after, ~changes),
                "perceptual": distance,
                "iou": region.intersection_over_union(
                    region.changed(edited, before, THRESHOLD), region.changed(after, before, THRESHOLD)
                ),
            }
        result: Values = {name: mean_of(numbers) for name, numbers in values.items()}
        enough = min(len(seen.features), len(references)) >= 2
        result["frechet"] = frechet.frechet_distance(seen.features, references) if enough else None
        return result

    def monotone(self, case: Case, draw: Callable[[float, int | None], np.ndarray], count: int | None = None) -> float:
        """Measures the share of the faces whose probability of the target rises over `STRENGTHS`.

        Args:
            case: the case.
            draw: from a strength and the number of faces to the first edited faces u8[n,R,R,3].
            count: number of faces; None for all.
        """
        values = np.stack([self.probabilities(draw(strength, count), case.target) for strength in STRENGTHS])
        return float(monotonicity.rises(values, TOLERANCE).mean())

    def measure_verification(self, faces: rendered.Faces) -> dict[str, float | int] | None:
        """Measures the identity network on true images: pairs of one person and of two, as many of each.

        Args:
            faces: rendered faces of held-out persons; the first are used.

        Returns:
            `accuracy` (`metrics.verification`), `pairs`, and the mean cosines `same` and `different`; None where there
            are fewer than ten pairs of a kind.
        """
        faces = faces.first(_PAIR_FACES)
        if len(np.unique(faces.labels)) < 2:
            return None
        pairs = rendered.draw_pairs(faces, _PAIRS, 4 * _PAIRS)
        first, second, same = pairs.first, pairs.second, pairs.same
        count = min(same.sum(), (~same).sum())
        if count < verification.FOLDS:
            return None
        even = np.where(same, np.cumsum(same), np.cumsum(~same)) <= count
        embeddings = _in_batches(self._embed, faces.images)
        cosines, same = (embeddings[first] * embeddings[second]).sum(1)[even], same[even]
        return {
            "accuracy": verification.verification(cosines, same),
            "pairs": len(same),
            "same": float(cosines[same].mean()),
            "different": float(cosines[~same].mean()),
        }


def mean_of(values: np.ndarray) -> float | None:
    """Returns the mean of the values that are not NaN; None where there are none."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


def _in_batches(function: Callable[..., Any], *trees: Any) -> Any:
    """Applies a compiled function to rows of arrays, or of tuples of arrays, in batches; returns NumPy arrays."""
    leaves, structure = jax.tree.flatten(trees)
    return map_batches(
        lambda *some: jax.device_get(function(*jax.tree.unflatten(structure, some))), *leaves, size=_BATCH
    )
