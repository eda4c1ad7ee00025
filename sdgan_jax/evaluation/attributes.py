"""Evaluation of a model: attribute accuracy, within-class diversity, distances to real images, and sheets.

There are two judges. The attribute classifier, trained on rendered faces (`training.networks.classifier`), gives
accuracies and distances; these use its features, not Inception's, and are named so. The position network, which learned
nothing of attributes, gives the share of images that it takes for a face (`finding.score_aligned`). Real images are
rendered faces of persons that neither the judges nor, when it was trained on rendered faces, the model has seen: the
test split, and the validation split as reference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from tqdm import auto as tqdm

import tfds_megn
from sdgan_jax import outputs, pictures, pretrained
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import report, samples
from sdgan_jax.face3d import finding
from sdgan_jax.metrics import accuracy, diversity, frechet, kid
from sdgan_jax.model import Model
from sdgan_jax.networks import Networks
from sdgan_jax.training import sharding
from sdgan_jax.training.gan import weights
from sdgan_jax.training.gan.state import State
from sdgan_jax.training.networks import classifier as classifier_lib

NUM_IMAGES = 960  # generated images, all classes together; about as many as there are real images in the test split
SCORE_IMAGES = 300  # images generated to score a checkpoint
LOOKED_AT = 80  # images of each class, generated and real, that the position network looks at

# f32[N,R,R,3] -> logits f32[N,6], features f32[N,D]
ClassifierFn = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
IsFaceFn = Callable[[np.ndarray], np.ndarray]  # u8[N,R,R,3] -> bool[N]
ByClass = Mapping[str, np.ndarray]  # images u8[N,R,R,3] of each attribute


def evaluate_model(
    model: Any,
    out_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    num_images: int = NUM_IMAGES,
    seed: int = 0,
    classifier_path: str | os.PathLike[str] = "",
) -> dict[str, Any]:
    """Generates images of every attribute by a model, measures them, and writes tables and sheets.

    Writes `metrics.txt`, `metrics.json`, `samples.png` (a row per attribute) and `samples_<attribute>.png` (generated
    rows, then real rows) into `out_dir`. Prepares the rendered data when they are not in `data_dir` yet.

    Args:
        model: as `sdgan_jax.load` returns it; `config` and `generate` are used.
        out_dir: folder for the results, local or remote.
        data_dir: folder of prepared data; None or "" is the model's own `config.data_dir`, else TFDS's default.
        num_images: number of images to generate, all attributes together.
        seed: random seed of the latents; those of attribute i come from `fold_in(key(seed), i)`.
        classifier_path: network directory of the classifier; "" for the one that comes with the project.

    Returns:
        The dict of `measure_attributes`, `dataset` (the real images), and `classifier` (its accuracy on held-out images
        of its own data set, and their number).

    Raises:
        FileExistsError: a file that was not written by an evaluation is in the way.
        OSError: the disk is full or cannot be written.
        ValueError: there are too few images for the metrics, or `pretrained.attribute_refusal` refuses the attributes.
    """
    names = tuple(model.config.attributes)
    if reason := pretrained.attribute_refusal(names):
        raise ValueError(f"{reason}; --metrics=classifier_fid2k measures such models")
    per_class = num_images // len(names)
    out_dir = epath.Path(out_dir)
    _check(names, per_class, num_images, out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir or model.config.data_dir or None
    config = samples.rendered_config(model.config.dataset, model.config.resolution)

    classifier = pretrained.attribute_classifier(classifier_path)
    generated = samples.draw_samples(model, names, per_class, seed)
    reals = {}
    for split in ("test", "validation"):
        faces = rendered.read(config, split, data_dir)
        reals[split] = {name: faces.images[rows] for name, rows in _rows_by_class(faces, names, per_class).items()}

    classify = _make_classify(classifier, names)
    is_face = make_is_face(pretrained.prnet_network(pretrained.SHIPPED_FINDER))
    results = measure_attributes(generated, reals["test"], reals["validation"], classify, is_face)
    results["dataset"] = f"megn/{config}"
    results["classifier"] = {
        "held_out_accuracy": classifier.held_out_accuracy,
        "held_out_images": classifier.held_out_images,
    }
    outputs.write_json(out_dir / "metrics.json", results, report.BY)
    outputs.write_text(out_dir / "metrics.txt", report.table(results), report.BY)
    report.write_sheets(out_dir, generated, reals["test"])
    return results


def _check(names: tuple[str, ...], per_class: int, num_images: int, out_dir: epath.Path) -> None:
    """Refuses what cannot be evaluated, and files of the user in the way, before anything is drawn."""
    if per_class < 2:
        raise ValueError(f"num_images is {num_images}; at least {2 * len(names)} are needed, two for each attribute")
    sheets = ("samples", *(f"samples_{name}" for name in names))
    files = ("metrics.json", "metrics.txt", *(f"{sheet}.png" for sheet in sheets))
    outputs.check_own([out_dir / name for name in files], report.BY)


def _rows_by_class(faces: rendered.Faces, names: Sequence[str], most: int) -> dict[str, np.ndarray]:
    """Returns the first rows of faces with each attribute, at most so many."""
    return {name: np.flatnonzero(faces.labels == tfds_megn.ATTRIBUTES.index(name))[:most] for name in names}


def _make_classify(classifier: pretrained.AttributeClassifier, names: Sequence[str]) -> ClassifierFn:
    """Makes a classifier whose logits are those of these attributes."""
    columns = [tfds_megn.ATTRIBUTES.index(name) for name in names]

    def classify(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, features = classifier_lib.classify(compiled, images)
        return logits[:, columns], features

    compiled = jax.jit(classifier)
    return classify


def make_score(nets: Networks) -> Callable[[State], float]:
    """Makes the function that scores the checkpoints of a run: minus the Fréchet distance of `measure_attributes`.

    The first process prepares the rendered data where they are not stored yet; the others wait for it. Every process
    must call this.

    Args:
        nets: the networks being trained, with attributes that have no `refusal`.

    Returns:
        A function from a state to its score on SCORE_IMAGES samples, for the first process; higher is better, 0 is the
        best possible.
    """
    config = nets.config
    dataset, data_dir = samples.rendered_config(config.dataset, config.resolution), config.data_dir or None
    names, per_class = tuple(config.attributes), SCORE_IMAGES // config.num_attributes
    with sharding.first_process_first():
        if jax.process_index():
            return _no_score
        faces = rendered.read(dataset, "validation", data_dir)
    chosen = np.concatenate(list(_rows_by_class(faces, names, per_class).values()))
    classify = _make_classify(pretrained.attribute_classifier(), names)
    _, real = classify(pictures.to_float(faces.images[chosen]))
    model: Model | None = None

    def score(state: State) -> float:
        nonlocal model
        trees = {field: getattr(state, field) for field in weights.FIELDS}
        if model is None:
            model = Model(nets, trees)
        model.take(trees)
        made = np.concatenate(list(samples.draw_samples(model, names, per_class, quiet=True).values()))
        return -frechet.frechet_distance(classify(pictures.to_float(made))[1], real)

    return score


def _no_score(state: State) -> float:
    """Stands for the score in all processes but the first, where the loop never asks for it."""
    raise AssertionError("only the first process scores")


def make_is_face(network: pretrained.PositionNetwork) -> IsFaceFn:
    """Makes the function that tells which images, aligned as rendered faces are, a position network takes for a face.

    These are the images whose `finding.score_aligned` is below its threshold.
    """
    predict = jax.jit(network)
    return lambda images: finding.score_aligned(images, predict, network.uv_layout) < network.threshold


def measure_attributes(
    images_by_class: ByClass,
    reals_by_class: ByClass,
    references_by_class: ByClass,
    classifier: ClassifierFn,
    is_face: IsFaceFn,
) -> dict[str, Any]:
    """Measures generated images against real ones.

    The distances are taken between equally many images of each class in all three sets (the Fréchet distance depends on
    the number), so that the generated-real and the real-real number can be compared.

    Args:
        images_by_class: generated u8[N,R,R,3] for each attribute, in the order of the classifier's logits.
        reals_by_class: real u8[M,R,R,3] for each attribute.
        references_by_class: other real u8[K,R,R,3] for each attribute, of other persons.
        classifier: f32[N,R,R,3] in [-1,1] to (logits, features).
        is_face: u8[N,R,R,3] to bool[N]; looks at the first `LOOKED_AT` images of each class, generated and real.

    Returns:
        A dict of plain numbers, lists and dicts (JSON), with `attribute_accuracy`, `face_share`, `diversity`,
        `classifier_kid`, `classifier_frechet_distance`, `confusion_matrix`, `attributes` and `images`.

    Raises:
        ValueError: the classes differ, or one has fewer than two images.
    """
    names = list(images_by_class)
    sets = {"generated": images_by_class, "real": reals_by_class, "reference": references_by_class}
    _check_sets(sets, names)
    seen: dict[str, list[np.ndarray]] = {}
    features: dict[str, list[np.ndarray]] = {}
    for kind, by_class in sets.items():
        found = [classifier(pictures.to_float(images)) for images in by_class.values()]
        seen[kind] = [logits.argmax(axis=1) for logits, _ in found]
        features[kind] = [vectors for _, vectors in found]

    confusion = {kind: _confusion(seen[kind], len(names)) for kind in ("generated", "real")}
    count = min(len(images) for by_class in sets.values() for images in by_class.values())
    pooled = {kind: np.concatenate([f[:count] for f in features[kind]]) for kind in sets}
    return {
        "attributes": names,
        "attribute_accuracy": _accuracies(names, confusion["generated"], confusion["real"]),
        "face_share": _face_share(images_by_class, reals_by_class, is_face),
        "diversity": _diversity(names, features["generated"], features["real"]),
        "classifier_kid": {
            "generated": kid.kernel_distance(pooled["generated"], pooled["real"])[0],
            "real": kid.kernel_distance(pooled["reference"], pooled["real"])[0],
        },
        "classifier_frechet_distance": {
            "generated": frechet.frechet_distance(pooled["generated"], pooled["real"]),
            "real": frechet.frechet_distance(pooled["reference"], pooled["real"]),
        },
        "confusion_matrix": confusion["generated"].tolist(),
        "images": {
            **{kind: sum(len(images) for images in by_class.values()) for kind, by_class in sets.items()},
            "in_distances": count * len(names),
            "looked_at": sum(min(LOOKED_AT, len(images)) for images in images_by_class.values()),
        },
    }


def _check_sets(sets: Mapping[str, ByClass], names: list[str]) -> None:
    """Refuses sets of images with other classes, or with too few images of one."""
    for kind, by_class in sets.items():
        if list(by_class) != names:
            raise ValueError(f"the {kind} images have the classes {list(by_class)}, the generated ones {names}")
        for name, images in by_class.items():
            if len(images) < 2:
                raise ValueError(f"there are {len(images)} {kind} images of {name}; the metrics need at least 2")


def _accuracies(names: list[str], generated: np.ndarray, real: np.ndarray) -> dict[str, Any]:
    """Returns the accuracies, overall and of each class, that follow from two confusion matrices."""
    made, true = (accuracy.accuracy_per_class(matrix).tolist() for matrix in (generated, real))
    return {
        "overall": accuracy.accuracy(generated),
        "per_class": dict(zip(names, made, strict=True)),
        "real": accuracy.accuracy(real),
        "real_per_class": dict(zip(names, true, strict=True)),
    }


def _face_share(generated: ByClass, real: ByClass, is_face: IsFaceFn) -> dict[str, Any]:
    """Compares the shares of generated and of real images that are taken for a face; a ratio of 0/0 is None."""
    shares: dict[str, list[float]] = {"generated": [], "real": []}
    with tqdm.tqdm(total=2 * len(generated), desc="Looking for faces", unit="class", mininterval=0.5) as bar:
        for kind, by_class in (("generated", generated), ("real", real)):
            for images in by_class.values():
                shares[kind].append(float(np.mean(is_face(images[:LOOKED_AT]))))
                bar.update()

    def row(made: float, true: float) -> dict[str, float | None]:
        return {"generated": made, "real": true, "ratio": made / true if true else None}

    per_class = dict(zip(generated, map(row, *shares.values()), strict=True))
    return {"overall": row(*(float(np.mean(values)) for values in shares.values())), "per_class": per_class}


def _diversity(names: list[str], generated: list[np.ndarray], real: list[np.ndarray]) -> dict[str, Any]:
    """Compares mean distances of features within each class, generated to real."""
    made, true = ([diversity.mean_pairwise_distance(f) for f in features] for features in (generated, real))
    per_class = {
        name: {"generated": a, "real": b, "ratio": a / b} for name, a, b in zip(names, made, true, strict=True)
    }
    return {"mean_ratio": float(np.mean([row["ratio"] for row in per_class.values()])), "per_class": per_class}


def _confusion(seen: list[np.ndarray], num_classes: int) -> np.ndarray:
    """Returns the confusion matrix of predictions listed by true class."""
    labels = np.repeat(np.arange(num_classes), [len(predictions) for predictions in seen])
    return accuracy.confusion_matrix(labels, np.concatenate(seen), num_classes)
