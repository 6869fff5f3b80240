"""The loss of a fit, against torch's own and by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dovision.training.losses import ClassificationLoss
from dovision.types import Task

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


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, "much", torch.nan])
def test_a_share_that_is_none_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing must be a number in \[0, 1\], got"):
        ClassificationLoss(smoothing)
