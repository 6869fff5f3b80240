"""The quality of the classifier on the evaluated images, as a whole and class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dovision.functional.detection import Flags, Floats, Integers, Scored, auroc
from dovision.functional.estimates import FEW_IMAGES, of_images
from dovision.functional.intervals import Number, balanced_interval, share_interval, withheld
from dovision.types import Task

OVERALL = {  # metrics of a class, and what they are called as metrics of the whole
    "balanced_accuracy": "balanced_accuracy",
    "auroc": "classifier_auroc",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_error": "calibration_error",
}
BINS = 15  # of the calibration error, equally wide
_NAMED = 5  # classes that a note names

Intervals = dict[str, Number]


class Quality(NamedTuple):
    """Metrics by name; undefined ones are missing, with the reason in `notes`."""

    overall: Intervals
    classes: Mapping[str, Intervals]
    notes: Sequence[str]


def classifier_quality(
    label: npt.NDArray[Any], prediction: npt.NDArray[Any], probability: Floats, group: Integers, task: Task
) -> Quality:
    """Compute overall and per-class metrics of a classifier:

    balanced_accuracy   mean of the sensitivities; multilabel: of (sensitivity + specificity) / 2 over labels
    classifier_auroc    area under the ROC curve of a class against all others, by its probability
    sensitivity         share of the images of a class of which it is predicted
    specificity         share of all other images of which it is not predicted
    calibration_error   expected difference of the highest probability and the accuracy, in 15 bins of equal width;
                        multilabel: of a label's probability and its frequency

    AUROC, sensitivity and specificity are those of the second class where there are two, else means over the classes,
    as are all metrics of a multilabel task. Means over classes have no interval, but for the balanced accuracy of a
    multiclass task; nor has the calibration error, which is biased upwards in small samples.

    Nothing is estimated from fewer than MIN_IMAGES images; a mean over classes is of the images of all.

    Of each class: images, prevalence, sensitivity, specificity, auroc; accuracy, which is the sensitivity or, of a
    label, the share predicted rightly; and of a label balanced_accuracy and calibration_error.

    Args:
        label, prediction: class numbers, shape (N,), or for multilabel ones and zeros, shape (N, K); -1 is not known.
        probability: P(y | x), shape (N, K).
        group: group (patient) of each image, shape (N,).
        task: the classes.
    """
    if not (label >= 0).any():
        return Quality({}, {}, [])
    if not task.multilabel:
        rows = label >= 0
        label, prediction, probability, group = label[rows], prediction[rows], probability[rows], group[rows]
    number = np.arange(len(task.classes))
    labelled, true, predicted = label >= 0, label == 1, prediction == 1
    if not task.multilabel:
        true, predicted = (numbers[:, None] == number for numbers in (label, prediction))
        labelled = np.ones_like(true)
    classes = {}
    for k, name in enumerate(task.classes):
        rows = labelled[:, k]
        answers = (true[rows, k], predicted[rows, k], probability[rows, k].astype(np.float64), group[rows])
        classes[name] = _of_class(*answers) | (_of_label(*answers) if task.multilabel else {})
        if not task.multilabel and "sensitivity" in classes[name]:
            classes[name]["accuracy"] = classes[name]["sensitivity"]
    if len(classes) == 2 and not task.multilabel:
        second = _of_enough(classes[task.classes[1]], len(label))
        overall = {whole: second[name] for name, whole in OVERALL.items() if name in second}
    else:
        overall = _means(classes)
    if not task.multilabel:
        overall |= _multiclass(label, prediction, probability, group)
    images = labelled.any(axis=1).sum()
    overall = {name: of_images(interval, images) for name, interval in overall.items()}
    classes = {name: _of_enough(classes[name], int(labelled[:, k].sum())) for k, name in enumerate(task.classes)}
    return Quality(overall, classes, _notes(classes))


def _of_enough(metrics: Intervals, labelled: int) -> Intervals:
    """Withhold a class's metrics where the images that each is computed from are too few."""
    of_class = int(metrics["images"].value)
    sets: dict[str, tuple[int, ...]] = {"sensitivity": (of_class,), "specificity": (labelled - of_class,)}
    sets |= dict.fromkeys(("auroc", "balanced_accuracy"), (of_class, labelled - of_class))
    sets |= {"accuracy": sets["sensitivity"]} if metrics.get("accuracy") is metrics.get("sensitivity") else {}
    return {
        name: interval if name == "images" else of_images(interval, *sets.get(name, (labelled,)))
        for name, interval in metrics.items()
    }


def _of_class(true: Flags, predicted: Flags, probability: Floats, group: Integers) -> Intervals:
    """Metrics of one class, from N images' membership and predicted membership, shapes (N,)."""
    metrics = {"images": _number(true.sum(), group)}
    if len(true):
        metrics["prevalence"] = _number(true.mean(), group)
    if true.any():
        metrics["sensitivity"] = share_interval(predicted[true], group[true])
    if not true.all():
        metrics["specificity"] = share_interval(~predicted[~true], group[~true])
    if true.any() and not true.all():
        metrics["auroc"] = auroc(Scored(probability[true], group[true]), Scored(probability[~true], group[~true]))
    return metrics


def _of_label(true: Flags, predicted: Flags, probability: Floats, group: Integers) -> Intervals:
    """Metrics that only multilabel classes have; arguments as of `_of_class`."""
    if not len(true):
        return {}
    from torchmetrics.functional.classification import binary_calibration_error  # which no report waits for

    error = binary_calibration_error(torch.from_numpy(probability), torch.from_numpy(true).long(), n_bins=BINS)
    metrics = {"accuracy": share_interval(predicted == true, group), "calibration_error": _number(float(error), group)}
    if true.any() and not true.all():
        metrics["balanced_accuracy"] = balanced_interval(predicted == true, true, group)
    return metrics


def _multiclass(label: Integers, prediction: Integers, probability: Floats, group: Integers) -> Intervals:
    """The metrics of all classes at once."""
    answers = torch.from_numpy(probability), torch.from_numpy(label)
    from torchmetrics.functional.classification import multiclass_calibration_error

    error = multiclass_calibration_error(*answers, num_classes=probability.shape[1], n_bins=BINS)
    metrics = {"calibration_error": _number(float(error), group)}
    if len(np.unique(label)) > 1:
        counts = np.unique(label, return_counts=True)[1]
        of_one = counts if len(counts) == 2 else counts[:0]  # either decides half of it
        balanced = balanced_interval(prediction == label, label, group)
        metrics["balanced_accuracy"] = of_images(balanced, len(label), *of_one)
    return metrics


def _means(classes: Mapping[str, Intervals]) -> Intervals:
    """Mean of each metric over the classes that have it; for a single label, its own metrics."""
    if len(classes) == 1:
        (only,) = classes.values()
        return {whole: only[name] for name, whole in OVERALL.items() if name in only}
    means = {}
    for name, whole in OVERALL.items():
        values = [metrics[name] for metrics in classes.values() if name in metrics]
        if values:
            mean = float(np.mean([value.value for value in values]))
            means[whole] = withheld(mean, max(value.n for value in values), "")
    return means


def _number(value: float, group: Integers) -> Number:
    """Wrap a number without an interval."""
    return withheld(float(value), len(np.unique(group)), "")


def _notes(classes: Mapping[str, Intervals]) -> list[str]:
    absent = [name for name, metrics in classes.items() if "sensitivity" not in metrics]
    every = [name for name, metrics in classes.items() if "specificity" not in metrics and name not in absent]
    few = [name for name, metrics in classes.items() if metrics.get("auroc", metrics["images"]).reason == FEW_IMAGES]
    notes = []
    if absent:
        notes.append(f"No image of {_named(absent)}, so no sensitivity and no AUROC of it; means leave it out.")
    if every:
        notes.append(f"All images are of {_named(every)}, so no specificity and no AUROC of it.")
    if few:
        notes.append(
            f"Of {_named(few)}, or of the others, {FEW_IMAGES}, so no sensitivity or specificity and no AUROC."
        )
    return notes


def _named(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
