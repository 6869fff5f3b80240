from __future__ import annotations

import torch

from dovision.attacks.losses import margin, task_loss
from dovision.contracts import Task

MULTICLASS = Task("multiclass", ("a", "b", "c"))
MULTILABEL = Task("multilabel", ("a", "b", "c"))
LOGITS = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]])


def test_the_margin_is_positive_where_the_label_is_beaten():
    torch.testing.assert_close(margin(LOGITS, torch.tensor([1, 0]), MULTICLASS), torch.tensor([-3.0, 3.0]))


def test_the_multilabel_margin_counts_each_label_by_its_own_logit():
    label = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    torch.testing.assert_close(margin(LOGITS, label, MULTILABEL), torch.tensor([-2.0 - 5 + 1, 2.0 - 5 - 1]))


def test_the_task_loss_is_the_tasks():
    label = torch.tensor([1, 0])
    assert torch.equal(task_loss(LOGITS, label, MULTICLASS), MULTICLASS.loss(LOGITS, label))
