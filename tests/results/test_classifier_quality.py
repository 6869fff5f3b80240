"""The classifier's quality against scikit-learn's, and what is not defined."""

import numpy as np
import pytest
from sklearn import metrics

from dovision.results.classifier_quality import BINS, OVERALL, classifier_quality
from dovision.types import Task


def drawn(classes: int, images: int = 300):
    """Labels of unequal classes and the probabilities of a classifier that is often right."""
    random = np.random.default_rng(0)
    label = random.choice(classes, images, p=random.dirichlet(np.full(classes, 5.0)))
    logits = random.normal(size=(images, classes)) + 1.2 * np.eye(classes)[label]
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return label, probability.argmax(1), probability, np.arange(images) // 2


def multiclass(classes: int) -> Task:
    return Task("multiclass", tuple(f"c{k}" for k in range(classes)))


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """The expected calibration error of Guo et al., arXiv:1706.04599, by its definition."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = [abs(correct[place == k].mean() - confidence[place == k].mean()) * (place == k).sum() for k in set(place)]
    return sum(gaps) / len(confidence)


def estimates(found) -> dict[str, float]:
    return {name: interval.value for name, interval in found.items()}


def test_two_classes_are_those_of_scikit_learn():
    label, prediction, probability, group = drawn(2)
    quality = classifier_quality(label, prediction, probability, group, multiclass(2))
    expected = {
        "classifier_auroc": metrics.roc_auc_score(label, probability[:, 1]),
        "sensitivity": metrics.recall_score(label, prediction),
        "specificity": metrics.recall_score(label, prediction, pos_label=0),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, prediction),
        "calibration_error": calibration_error(probability.max(1), prediction == label),
    }
    assert estimates(quality.overall) == pytest.approx(expected, abs=1e-6)
    assert quality.notes == []
    assert estimates(quality.classes["c0"])["images"] == (label == 0).sum()


@pytest.mark.parametrize("classes", [3, 10])
def test_several_classes_are_those_of_scikit_learn(classes):
    label, prediction, probability, group = drawn(classes, images=900)
    quality = classifier_quality(label, prediction, probability, group, multiclass(classes))
    recall = metrics.recall_score(label, prediction, average=None)
    of_others = [metrics.recall_score(label == k, prediction == k, pos_label=0) for k in range(classes)]
    expected = {
        "classifier_auroc": metrics.roc_auc_score(label, probability, multi_class="ovr"),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, prediction),
        "sensitivity": recall.mean(),
        "specificity": np.mean(of_others),
        "calibration_error": calibration_error(probability.max(1), prediction == label),
    }
    assert estimates(quality.overall) == pytest.approx(expected, abs=1e-6)
    for k, found in enumerate(quality.classes.values()):
        is_k, rates = label == k, {"sensitivity": recall[k], "accuracy": recall[k], "specificity": of_others[k]}
        rates |= {
            "images": is_k.sum(),
            "prevalence": is_k.mean(),
            "auroc": metrics.roc_auc_score(is_k, probability[:, k]),
        }
        assert estimates(found) == pytest.approx(rates)
        assert found["auroc"].low < found["auroc"].value < found["auroc"].high


def test_each_label_is_judged_at_its_threshold_on_the_images_of_which_it_is_known():
    random = np.random.default_rng(1)
    label = random.choice([-1, 0, 1], (200, 3), p=[0.1, 0.6, 0.3])
    probability = (0.3 * label.clip(0) + 0.7 * random.random((200, 3))).clip(0, 1)
    task = Task("multilabel", ("a", "b", "c"), (0.5, 0.6, 0.7))
    prediction = (probability >= task.thresholds).astype(int)
    quality = classifier_quality(label, prediction, probability, np.arange(200), task)
    for k, found in enumerate(quality.classes.values()):
        known = label[:, k] >= 0
        true, predicted, own = label[known, k], prediction[known, k], probability[known, k]
        expected = {
            "images": true.sum(),
            "prevalence": true.mean(),
            "sensitivity": metrics.recall_score(true, predicted),
            "specificity": metrics.recall_score(true, predicted, pos_label=0),
            "balanced_accuracy": metrics.balanced_accuracy_score(true, predicted),
            "accuracy": metrics.accuracy_score(true, predicted),
            "auroc": metrics.roc_auc_score(true, own),
            "calibration_error": calibration_error(own, true),
        }
        assert estimates(found) == pytest.approx(expected, abs=1e-6)
    for name, own in (("classifier_auroc", "auroc"), ("sensitivity", "sensitivity")):
        mean = np.mean([found[own].value for found in quality.classes.values()])
        assert quality.overall[name].value == pytest.approx(mean)


def test_what_one_class_alone_or_a_label_that_is_never_known_does_not_define_is_missing_and_noted():
    label, prediction, probability, group = drawn(2)
    for only, kept in ((0, "specificity"), (1, "sensitivity")):
        one = np.full_like(label, only)
        quality = classifier_quality(one, prediction, probability, group, multiclass(2))
        assert set(quality.overall) == {kept, "calibration_error"}
        assert quality.notes == [
            f"No image of c{1 - only}, so no sensitivity and no AUROC of it; means leave it out.",
            f"All images are of c{only}, so no specificity and no AUROC of it.",
        ]
        assert all(np.isfinite(number.value) for found in quality.classes.values() for number in found.values())
    label, prediction, probability, group = drawn(8)
    quality = classifier_quality(label % 2, prediction, probability, group, multiclass(8))
    note = "No image of c2, c3, c4, c5, c6, 1 more, so no sensitivity and no AUROC of it; means leave it out."
    assert quality.notes == [note]
    label = np.array([[1, -1], [0, -1], [1, -1]])
    probability = np.array([[0.9, 0.5], [0.2, 0.5], [0.4, 0.5]])
    task = Task("multilabel", ("a", "b"))
    quality = classifier_quality(label, (probability >= 0.5) * 1, probability, np.arange(3), task)
    assert estimates(quality.classes["b"]).keys() == {"images"}
    assert "No image of b" in quality.notes[0]


def test_a_single_label_keeps_its_intervals():
    label = np.array([[0.0], [1.0]] * 20)
    probability = np.linspace(0.1, 0.9, 40)[:, None]
    found = classifier_quality(label, probability > 0.4, probability, np.arange(40), Task("multilabel", ("nodule",)))
    for name, whole in OVERALL.items():
        assert found.overall[whole] == found.classes["nodule"][name]
    assert found.overall["sensitivity"].low < found.overall["sensitivity"].value
