"""The classes of which rows of effects are kept, worked out by hand."""

import pytest
import torch

from dovision.evaluation.effects import kept_classes
from dovision.types import Task

ONE, SEVERAL = Task("multiclass", tuple("abcd")), Task("multilabel", tuple("abcd"), (0.5, 0.5, 0.5, 0.9))
CLEAN, ATTACKED = torch.tensor([[4.0, 3, 2, 1]]), torch.tensor([[0.0, 3, 2, -1]])


def kept(keep, label, task=ONE, top_k=2, controls=(CLEAN, ATTACKED)):
    found = kept_classes(keep, top_k, task, torch.tensor(label), controls)
    return "".join(name for name, is_kept in zip(task.classes, found[0].tolist(), strict=True) if is_kept)


@pytest.mark.parametrize(
    ("keep", "label", "expected"),
    [
        ("all", [3], "abcd"),
        ("summary", [3], ""),
        ("labels", [3], "d"),
        ("labels", [-1], ""),
        ("predicted", [3], "abd"),  # what each condition predicts, and the label
        ("predicted", [-1], "ab"),
        ("top_k", [3], "abc"),  # a and b, b and c
    ],
)
def test_of_one_class_an_image(keep, label, expected):
    assert kept(keep, label) == expected


def test_of_several_labels_all_that_are_predicted_and_known_to_be_there():
    nan = float("nan")
    assert kept("labels", [[0, 1, nan, 1]], SEVERAL) == "bd"
    assert kept("predicted", [[0, 0, nan, 1]], SEVERAL) == "abcd"
    assert kept("predicted", [[0, 0, nan, 0]], SEVERAL) == "abc"  # the last one is below its threshold
    assert kept("predicted", [[0, 0, 0, 0]], SEVERAL, controls=[CLEAN - 9]) == "a"  # nothing is: the likeliest


def test_more_classes_than_there_are_is_all():
    assert kept("top_k", [3], top_k=9) == "abcd"
