"""Measures a model: attribute accuracy, within-class diversity, and distances to real images, with pictures.

All numbers rest on one attribute classifier, trained on rendered faces (`training.networks.classifier`); the
distances use its features, not Inception's, and are named so. Real images are rendered faces of people that
neither the classifier nor, when it learned from rendered faces, the model has seen: the test split, and the
validation split as reference.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epath

import tfds_megn
from sdgan_jax import outputs, pictures
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import report, samples
from sdgan_jax.metrics import accuracy, diversity, frechet, kid
from sdgan_jax.model import Model
from sdgan_jax.networks import Networks
from sdgan_jax.training.gan import weights
from sdgan_jax.training.gan.state import State
from sdgan_jax.training.networks import classifier as classifier_lib

NUM_IMAGES = 960  # generated, all classes together; about as many as there are real images in the test split
SCORE_IMAGES = 300  # drawn to score a checkpoint

# f32[N,R,R,3] -> logits f32[N,6], features f32[N,D]
ClassifierFn = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def evaluate(
    model: Any,
    out_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    num_images: int = NUM_IMAGES,
    seed: int = 0,
) -> dict[str, Any]:
    """Draws samples of every attribute from a model, measures them, and writes tables and pictures.

    Writes `metrics.txt`, `metrics.json`, `samples.png` (a row per attribute) and `samples_<attribute>.png`
    (generated rows, then real rows) into `out_dir`. Prepares the rendered data and trains the classifier
    when they are not stored yet in `data_dir`.

    Args:
        model: as `sdgan_jax.load` returns it; `config` and `generate` are used.
        out_dir: folder for the results, local or remote.
        data_dir: where prepared data live; None or "" is the model's own `config.data_dir`, else TFDS's
            default.
        num_images: samples to draw, all attributes together.
        seed: of the latents; attribute i draws from `fold_in(key(seed), i)`.

    Returns:
        What `measure` returns, and `classifier` (its data set, held-out accuracy and number of held-out
        images).

    Raises:
        FileExistsError: a file that was not written by an evaluation is in the way.
        OSError: the disk is full or cannot be written.
        ValueError: when there are too few images for the metrics, or the model has other attributes.
    """
    names = tuple(model.config.attributes)
    if names != tuple(tfds_megn.ATTRIBUTES):
        raise ValueError(
            f"the model's attributes are {', '.join(names)}; the classifier knows {', '.join(tfds_megn.ATTRIBUTES)}"
        )
    per_class = num_images // len(names)
    if per_class < 2:
        raise ValueError(f"num_images is {num_images}; at least {2 * len(names)} are needed, two for each attribute")
    out_dir = epath.Path(out_dir)
    sheets = ("samples", *(f"samples_{name}" for name in names))
    outputs.check_own(
        [out_dir / name for name in ("metrics.json", "metrics.txt", *(f"{s}.png" for s in sheets))], report.BY
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir or model.config.data_dir or None
    config = samples.rendered_config(model.config.dataset, model.config.resolution)

    classifier = classifier_lib.load_or_train(config, data_dir)
    generated = samples.draw_samples(model, names, per_class, seed)
    reals = {}
    for split in ("test", "validation"):
        faces = rendered.read(config, split, data_dir)
        reals[split] = {name: faces.images[faces.labels == i][:per_class] for i, name in enumerate(names)}
    judged = {name: samples.resize(images, classifier.resolution) for name, images in generated.items()}

    results = measure(judged, reals["test"], reals["validation"], classifier)
    results["classifier"] = {
        "dataset": f"megn/{config}",
        "held_out_accuracy": classifier.held_out_accuracy,
        "held_out_images": classifier.held_out_images,
    }
    outputs.write_json(out_dir / "metrics.json", results, report.BY)
    outputs.write_text(out_dir / "metrics.txt", report.table(results), report.BY)
    report.write_sheets(out_dir, generated, reals["test"])
    return results


def make_score(nets: Networks) -> Callable[[State], float]:
    """Makes the function that scores the checkpoints of a run: minus the Fréchet distance of `measure`.

    Prepares the rendered data and trains the classifier at its first call, when they are not stored yet.

    Args:
        nets: the networks of the run.

    Returns:
        From a state to a score on SCORE_IMAGES samples; higher is better, 0 is the best there is.
    """
    config = nets.config
    dataset, data_dir = samples.rendered_config(config.dataset, config.resolution), config.data_dir or None
    names, per_class = tuple(config.attributes), SCORE_IMAGES // config.num_attributes
    model: Model | None = None

    @functools.cache
    def judge() -> tuple[classifier_lib.TrainedClassifier, np.ndarray]:
        classifier = classifier_lib.load_or_train(dataset, data_dir)
        faces = rendered.read(dataset, "validation", data_dir)
        chosen = np.concatenate([np.flatnonzero(faces.labels == i)[:per_class] for i in range(len(names))])
        return classifier, classifier(pictures.to_float(faces.images[chosen]))[1]

    def score(state: State) -> float:
        nonlocal model
        trees = {field: getattr(state, field) for field in weights.FIELDS}
        if model is None:
            model = Model(nets, trees)
        model.take(trees)
        classifier, real = judge()
        made = np.concatenate(list(samples.draw_samples(model, names, per_class, quiet=True).values()))
        return -frechet.frechet_distance(
            classifier(pictures.to_float(samples.resize(made, classifier.resolution)))[1], real
        )

    return score


def measure(
    images_by_class: Mapping[str, np.ndarray],
    reals_by_class: Mapping[str, np.ndarray],
    references_by_class: Mapping[str, np.ndarray],
    classifier: ClassifierFn,
) -> dict[str, Any]:
    """Measures generated images against real ones.

    The distances are taken between equally many images of each class in all three sets (the Fréchet distance
    depends on the number), so the generated-real and the real-real number can be compared.

    Args:
        images_by_class: generated u8[N,R,R,3] for each attribute, in the order of the classifier's logits.
        reals_by_class: real u8[M,R,R,3] for each attribute.
        references_by_class: other real u8[K,R,R,3] for each attribute, of other people.
        classifier: f32[N,R,R,3] in [-1, 1] to (logits, features).

    Returns:
        A dict of plain numbers, lists and dicts (JSON), with `attribute_accuracy`, `diversity`,
        `classifier_kid`, `classifier_frechet_distance`, `confusion_matrix`, `attributes` and `images`.

    Raises:
        ValueError: when the classes differ, or one has fewer than two images.
    """
    names = list(images_by_class)
    sets = {"generated": images_by_class, "real": reals_by_class, "reference": references_by_class}
    for kind, by_class in sets.items():
        if list(by_class) != names:
            raise ValueError(f"the {kind} images have the classes {list(by_class)}, the generated ones {names}")
        for name, images in by_class.items():
            if len(images) < 2:
                raise ValueError(f"there are {len(images)} {kind} images of {name}; the metrics need at least 2")

    seen: dict[str, list[np.ndarray]] = {}
    features: dict[str, list[np.ndarray]] = {}
    for kind, by_class in sets.items():
        outputs = [classifier(pictures.to_float(images)) for images in by_class.values()]
        seen[kind] = [logits.argmax(axis=1) for logits, _ in outputs]
        features[kind] = [vectors for _, vectors in outputs]

    confusion = _confusion(seen["generated"], len(names))
    real_confusion = _confusion(seen["real"], len(names))
    spread = {kind: [diversity.mean_pairwise_distance(f) for f in features[kind]] for kind in ("generated", "real")}
    ratios = [made / true for made, true in zip(spread["generated"], spread["real"], strict=True)]
    count = min(len(images) for by_class in sets.values() for images in by_class.values())
    pooled = {kind: np.concatenate([f[:count] for f in features[kind]]) for kind in sets}
    return {
        "attributes": names,
        "attribute_accuracy": {
            "overall": accuracy.accuracy(confusion),
            "per_class": dict(zip(names, accuracy.accuracy_per_class(confusion).tolist(), strict=True)),
            "real": accuracy.accuracy(real_confusion),
            "real_per_class": dict(zip(names, accuracy.accuracy_per_class(real_confusion).tolist(), strict=True)),
        },
        "diversity": {
            "mean_ratio": float(np.mean(ratios)),
            "per_class": {
                name: {"generated": spread["generated"][i], "real": spread["real"][i], "ratio": ratios[i]}
                for i, name in enumerate(names)
            },
        },
        "classifier_kid": {
            "generated": kid.kernel_distance(pooled["generated"], pooled["real"])[0],
            "real": kid.kernel_distance(pooled["reference"], pooled["real"])[0],
        },
        "classifier_frechet_distance": {
            "generated": frechet.frechet_distance(pooled["generated"], pooled["real"]),
            "real": frechet.frechet_distance(pooled["reference"], pooled["real"]),
        },
        "confusion_matrix": confusion.tolist(),
        "images": {
            **{kind: sum(len(images) for images in by_class.values()) for kind, by_class in sets.items()},
            "in_distances": count * len(names),
        },
    }


def _confusion(seen: list[np.ndarray], num_classes: int) -> np.ndarray:
    """Confusion matrix of predictions listed by true class."""
    labels = np.repeat(np.arange(num_classes), [len(predictions) for predictions in seen])
    return accuracy.confusion_matrix(labels, np.concatenate(seen), num_classes)
