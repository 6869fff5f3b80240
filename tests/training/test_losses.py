"""The loss of a fit, against torch's own and by hand, and metrics of a validation, against scikit-learn."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchmetrics
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from dovision.config.component import make_each
from dovision.training.losses import ClassificationLoss
from dovision.training.validation_metrics import ValidationMetrics
from dovision.types import Task
from made_config import read

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
CLASS = torch.tensor([0, 1, 2, 2, 1, 0])
LABELS = torch.tensor([[0.0, 1.0, torch.nan], [1.0, 1.0, 0.0]]).repeat(3, 1)


@pytest.mark.parametrize(("kind", "label"), [("multiclass", CLASS), ("multilabel", LABELS)])
def test_without_smoothing_it_is_the_mean_of_the_tasks_own_to_the_bit(kind, label):
    expected = Task(kind, ("a", "b", "c")).loss(LOGITS, label).mean()
    assert torch.equal(ClassificationLoss()(LOGITS, label), expected)


def test_smoothed_classes_are_torchs():
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.2)(LOGITS, CLASS)
    torch.testing.assert_close(ClassificationLoss(0.2)(LOGITS, CLASS), expected)


def test_smoothed_labels_are_drawn_to_a_half_and_unknown_ones_do_not_count():
    target = torch.tensor([[0.1, 0.9], [0.9, 0.9]])
    known = LOGITS[:2, :2]
    last = F.binary_cross_entropy_with_logits(LOGITS[1, 2], torch.tensor(0.1))
    expected = (F.binary_cross_entropy_with_logits(known, target, reduction="sum") + last) / 2
    torch.testing.assert_close(ClassificationLoss(0.2)(LOGITS[:2], LABELS[:2]), expected)


IMAGES = 90
MULTICLASS, MULTILABEL = Task("multiclass", ("a", "b", "c")), Task("multilabel", ("a", "b", "c"))


@pytest.fixture(scope="module")
def configured():
    return make_each(read(command="train").training.classifier.metrics)


def drawn(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities that know something of the labels; some of several labels are not known."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(IMAGES, 3, generator=generator)
    if not task.multilabel:
        label = torch.randint(3, (IMAGES,), generator=generator)
        return (logits + torch.nn.functional.one_hot(label, 3)).softmax(1), label
    label = torch.randint(2, (IMAGES, 3), generator=generator).float()
    probability = (logits + label).sigmoid()
    return probability, label.masked_fill(torch.rand(IMAGES, 3, generator=generator) < 0.2, torch.nan)


def measured(metrics: ValidationMetrics, probability: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    for rows in (slice(0, 32), slice(32, 64), slice(64, None)):
        metrics.update(probability[rows], label[rows])
    found = {name: value.item() for name, value in metrics.compute().items()}
    metrics.reset()
    return found


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error in 15 bins of equal width, arXiv:1706.04599, equation 3."""
    bins = np.clip(np.ceil(confidence * 15) - 1, 0, 14)
    each = [(bins == number) for number in range(15)]
    return sum(abs(right[own].mean() - confidence[own].mean()) * own.mean() for own in each if own.any())


def test_those_of_classes_are_scikit_learns(configured):
    probability, label = drawn(MULTICLASS)
    found = measured(ValidationMetrics(MULTICLASS, configured), probability, label)
    prediction, confidence = probability.argmax(1), probability.max(1).values
    right = (prediction == label).numpy()
    expected = {
        "accuracy": accuracy_score(label, prediction),
        "auroc": roc_auc_score(label, probability, multi_class="ovr", average="macro"),
        "calibration_error": calibration_error(confidence.numpy(), right),
        "f1": f1_score(label, prediction, average="macro"),
    }
    assert found == pytest.approx(expected, abs=1e-5)


def test_those_of_labels_are_scikit_learns_over_the_known_ones(configured):
    probability, label = drawn(MULTILABEL)
    found = measured(ValidationMetrics(MULTILABEL, configured), probability, label)
    columns = [(probability[label[:, k].isfinite(), k], label[label[:, k].isfinite(), k]) for k in range(3)]
    all_probability, all_label = (torch.cat(parts) for parts in zip(*columns, strict=True))
    expected = {
        "accuracy": accuracy_score(all_label, all_probability > 0.5),
        "auroc": np.mean([roc_auc_score(own, score) for score, own in columns]),
        "calibration_error": calibration_error(all_probability.numpy(), all_label.numpy()),
        "f1": np.mean([f1_score(own, score > 0.5) for score, own in columns]),
    }
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_metric_that_does_not_average_is_logged_class_by_class():
    metrics = ValidationMetrics(MULTICLASS, {"f1": partial(torchmetrics.F1Score, average="none")})
    probability, label = drawn(MULTICLASS)
    found = measured(metrics, probability, label)
    assert list(found) == metrics.names == ["f1/a", "f1/b", "f1/c"]
    assert list(found.values()) == pytest.approx(f1_score(label, probability.argmax(1), average=None), abs=1e-6)


def test_what_has_no_value_is_left_out(configured):
    """One class alone among the images has no area."""
    metrics = ValidationMetrics(MULTICLASS, configured)
    probability, _ = drawn(MULTICLASS)
    assert measured(metrics, probability, torch.zeros(IMAGES, dtype=torch.int64)).keys() == {
        "accuracy",
        "calibration_error",
        "f1",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (torchmetrics.ConfusionMatrix, r"must have one number as its value, or .*, got shape \(3, "),
        (torchmetrics.ROC, "must have one number as its value, or .*, got tuple"),
        (torchmetrics.MeanSquaredError, "cannot be computed of probabilities and labels: .*same shape"),
        (partial(torchmetrics.F1Score, avrage="macro"), "cannot be made for a multiclass task: "),
        (partial(torchmetrics.F1Score, average="mean"), "cannot be made for a multiclass task: "),
    ],
)
def test_a_metric_without_a_number_as_its_value_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=f"^metrics.mine {message}"):
        ValidationMetrics(MULTICLASS, {"mine": make})
