from __future__ import annotations

import pytest
import torch

from dovision.attacks.losses import dlr, margin, task_loss
from dovision.types import Task

MULTICLASS = Task("multiclass", ("a", "b", "c"))
MULTILABEL = Task("multilabel", ("a", "b", "c"))
LOGITS = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]])


def test_the_margin_is_positive_where_the_label_is_beaten():
    torch.testing.assert_close(margin(LOGITS, torch.tensor([1, 0]), MULTICLASS), torch.tensor([-3.0, 3.0]))


def test_the_multilabel_margin_counts_each_label_by_its_own_logit():
    label = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    torch.testing.assert_close(margin(LOGITS, label, MULTILABEL), torch.tensor([-2.0 - 5 + 1, 2.0 - 5 - 1]))


def test_the_multilabel_margin_counts_from_the_thresholds_and_leaves_out_what_is_not_known():
    task = Task("multilabel", ("a", "b", "c"), thresholds=(0.5, torch.tensor(4.0).sigmoid().item(), 0.5))
    label = torch.tensor([[1.0, 0.0, torch.nan], [torch.nan] * 3])
    torch.testing.assert_close(margin(LOGITS, label, task), torch.tensor([-2.0 + (5 - 4), 0.0]))


def test_the_task_loss_is_the_tasks():
    label = torch.tensor([1, 0])
    assert torch.equal(task_loss(LOGITS, label, MULTICLASS), MULTICLASS.loss(LOGITS, label))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_dlr_is_the_margin_by_the_distance_from_first_to_third_whatever_the_scale(scale):
    label = torch.tensor([1, 0])  # predicted rightly; beaten by 3, which is 3/4 of the way from the first to the third
    torch.testing.assert_close(dlr(LOGITS * scale, label, MULTICLASS), torch.tensor([-0.75, 0.75]))


def test_dlr_of_equal_logits_is_zero():
    assert dlr(torch.ones(1, 3), torch.tensor([0]), MULTICLASS).item() == 0


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task("multiclass", ("no", "yes")), "at least 3 classes, got a multiclass one"),
        (MULTILABEL, "got a multilabel one of .*Take the loss margin"),
    ],
)
def test_dlr_of_two_classes_and_of_several_labels_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        dlr(LOGITS[:, : len(task.classes)], torch.tensor([1, 0]), task)
