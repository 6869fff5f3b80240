"""Errors of attacks: the call, and what its message says."""

from __future__ import annotations

import pytest
import torch

from dovision.attacks._objective import Objective
from dovision.attacks.foolbox_attacks import Boundary, CarliniWagner
from dovision.attacks.gradient_ascent import BIM, FGSM, PGD
from dovision.attacks.losses import dlr, margin
from dovision.attacks.square import Square
from dovision.types import Task

LOGITS, LABEL = torch.tensor([[2.0, 5.0, 1.0]]), torch.tensor([1])
PETS = Task("multiclass", ("cat", "dog", "eel"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FGSM(0.1, norm="linff"), "norm must be one of linf, l2, got 'linff'. Did you mean linf"),
        (lambda: BIM(0.1, steps=0), "steps must be a whole number of at least 1, got 0"),
        (lambda: BIM(0.1, steps=3, step_size=0), "step_size must be above 0, got 0"),
        (lambda: PGD(0.1, steps=3, restarts=0), "restarts must be a whole number of at least 1, got 0"),
        (lambda: CarliniWagner(0.1, steps=0), "steps must be a whole number of at least 1, got 0"),
        (lambda: Boundary(0.1, steps=5, source_step=0), "source_step must be above 0, got 0"),
        (lambda: Square(0.1, queries=0), "queries must be a whole number of at least 1, got 0"),
        (lambda: Square(0.1, queries=5, area=0), "area must be above 0, got 0"),
        (lambda: Objective(margin, "dig")(LOGITS, LABEL, PETS), "one of cat, dog, eel, got 'dig'. Did you mean dog"),
        (lambda: Objective(margin, 3)(LOGITS, LABEL, PETS), r"name of a class or its number, 0 to 2, got 3\."),
        (
            lambda: dlr(LOGITS[:, :2], LABEL, Task("multiclass", ("no", "yes"))),
            "at least 3 classes, got a multiclass one",
        ),
        (
            lambda: dlr(LOGITS, LABEL, Task("multilabel", ("a", "b", "c"))),
            "got a multilabel one of .*Take the loss margin",
        ),
    ],
)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
