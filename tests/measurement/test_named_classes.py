"""The labels and predictions of which an image's effects are rows, worked out by hand."""

import pytest
import torch

from dovision.measurement.effects import named_classes
from dovision.types import Task

ONE, SEVERAL = Task("multiclass", tuple("abcd")), Task("multilabel", tuple("abcd"), (0.5, 0.5, 0.5, 0.9))
CLEAN, ATTACKED = torch.tensor([[4.0, 3, 2, 1]]), torch.tensor([[0.0, 3, 2, -1]])


def named(label, task=ONE, controls=(CLEAN, ATTACKED)):
    (mask,) = named_classes(task, torch.tensor(label), controls).tolist()
    return "".join(name for name, is_named in zip(task.classes, mask, strict=True) if is_named)


@pytest.mark.parametrize(("label", "expected"), [([3], "abd"), ([-1], "ab")])
def test_of_one_class_an_image_what_each_condition_predicts_and_the_label(label, expected):
    assert named(label) == expected


def test_of_several_labels_all_that_are_predicted_and_known_to_be_there():
    nan = float("nan")
    assert named([[0, 0, nan, 1]], SEVERAL) == "abcd"
    assert named([[0, 0, nan, 0]], SEVERAL) == "abc"  # the last one is below its threshold
    assert named([[0, 0, 0, 0]], SEVERAL, controls=[CLEAN - 9]) == "a"  # nothing is: the likeliest
