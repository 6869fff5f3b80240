"""Strength of the attacks on undefended networks: all of them fool all images if they may change enough."""

from __future__ import annotations

import foolbox
import pytest
import torch

from dovision.attacks.apgd import APGD
from dovision.attacks.foolbox_attacks import Boundary, CarliniWagner
from dovision.attacks.gradient_ascent import BIM, MIFGSM, PGD
from dovision.attacks.losses import dlr, margin
from dovision.attacks.random_sign import RandomSign
from dovision.attacks.square import Square
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch

LARGE = {"linf": 0.5, "l2": 4.0}
MAKERS = {
    "bim": lambda norm: BIM(LARGE[norm], steps=20, norm=norm),
    "mifgsm": lambda norm: MIFGSM(LARGE[norm], steps=20, norm=norm),
    "pgd": lambda norm: PGD(LARGE[norm], steps=20, norm=norm),
    "apgd": lambda norm: APGD(LARGE[norm], steps=20, norm=norm),
    "apgd margin": lambda norm: APGD(LARGE[norm], steps=20, norm=norm, loss=margin),
    "apgd dlr": lambda norm: APGD(LARGE[norm], steps=20, norm=norm, loss=dlr),
    "square": lambda norm: Square(LARGE[norm], queries=300, norm=norm),
}


def right(attack: Attack, batch: Batch, classifier: Classifier) -> torch.Tensor:
    """Whether each image is read rightly under the attack, shape (B,) bool."""
    return classifier(attack(batch, classifier, attack.eps[0])).argmax(1) == batch.label


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", MAKERS)
def test_no_digit_is_read_right_under_a_large_epsilon(name, norm, trained, digits):
    for classifier in trained:
        assert right(MAKERS[name](norm), digits, classifier).sum() == 0


L2_ONLY = {
    "carlini wagner": lambda: CarliniWagner(4.0, steps=50, searches=6, step_size=0.1),
    "boundary": lambda: Boundary(4.0, steps=50),
}


@pytest.mark.parametrize("name", L2_ONLY)
def test_nor_under_those_that_know_l2_only(name, trained, digits):
    some = digits.rows(range(20))
    assert right(L2_ONLY[name](), some, trained[0]).sum() == 0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_of_the_same_size_leaves_many_right(norm, trained, digits):
    for classifier in trained:
        assert right(RandomSign(LARGE[norm], norm=norm), digits, classifier).float().mean() > 0.3


@pytest.mark.parametrize("eps", [0.05, 0.1])
def test_apgd_and_square_together_leave_no_more_right_than_any_one_attack(eps, trained, digits):
    attacks = [APGD(eps, steps=50), APGD(eps, steps=50, loss=dlr), Square(eps, queries=300)]
    left = torch.stack([right(attack, digits, trained[0]) for attack in attacks]).all(0).sum()
    model, wrong = foolbox.PyTorchModel(trained[0], bounds=(0, 1)), foolbox.criteria.Misclassification(digits.label)
    theirs = foolbox.attacks.LinfPGD(steps=50).run(model, digits.image, wrong, epsilon=eps)
    assert left <= (trained[0](theirs).argmax(1) == digits.label).sum()
    for attack in (BIM(eps, steps=50), MIFGSM(eps, steps=50), PGD(eps, steps=50)):
        assert left <= right(attack, digits, trained[0]).sum()
