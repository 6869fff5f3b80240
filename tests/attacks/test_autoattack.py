from __future__ import annotations

import pytest
import torch

from dovision.attacks.apgd import APGD
from dovision.attacks.apgd_targeted import TargetedAPGD
from dovision.attacks.autoattack import AutoAttack
from dovision.attacks.fab import FAB
from dovision.attacks.square import Square

EPS = {"linf": 0.05, "l2": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_leaves_right_what_all_of_its_parts_leave_right(norm, trained, digits):
    eps, classifier = EPS[norm], trained[0]
    parts = [
        APGD(eps, steps=10, norm=norm),
        TargetedAPGD(eps, steps=10, norm=norm),
        FAB(eps, steps=10, targets=9, norm=norm),
        Square(eps, queries=50, norm=norm),
    ]
    alone = torch.stack([classifier(part(digits, classifier, eps)).argmax(1) == digits.label for part in parts])
    together = AutoAttack(eps, steps=10, queries=50, norm=norm)(digits, classifier, eps)
    right = classifier(together).argmax(1) == digits.label
    assert torch.equal(right, alone.all(0))
    assert 0 < right.sum() < len(right)
    assert torch.equal(together[right], digits.image[right])
