from __future__ import annotations

import pytest
import torch

from dovision.attacks._objective import Towards, likeliest_answers
from dovision.attacks.apgd import APGD
from dovision.attacks.apgd_targeted import TargetedAPGD
from dovision.types import Task

FOUR, MULTILABEL = Task("multiclass", tuple("abcd")), Task("multilabel", tuple("abc"))


def test_the_lead_of_an_answer_is_scaled_by_the_logits_that_follow():
    logits, label = torch.tensor([[3.0, 2.0, 1.0, 0.0]] * 2), torch.tensor([0, 0])
    assert Towards(torch.tensor([1, 3]))(logits, label, FOUR).tolist() == pytest.approx([-1 / 2.5, -3 / 2.5])


def test_of_labels_the_lead_is_that_of_the_wrong_answer_and_zero_where_none_is_known():
    logits, label = torch.tensor([[3.0, -2.0, 1.0]] * 3), torch.tensor([[1.0, 0.0, torch.nan]] * 3)
    assert Towards(torch.tensor([0, 1, 2]))(logits, label, MULTILABEL).tolist() == pytest.approx([-3, -2, 0])


def test_answers_come_in_the_order_of_their_leads_without_the_right_one():
    logits, label = torch.tensor([[1.0, 4.0, 2.0, 3.0]]), torch.tensor([1])
    assert likeliest_answers(logits, label, FOUR, 9).tolist() == [[3, 2, 0]]
    assert likeliest_answers(logits, label, FOUR, 1).tolist() == [[3]]


def test_it_fools_as_often_as_apgd_or_nearly_so_and_more_answers_fool_no_fewer(trained, digits):
    classifier = trained[0]
    attacks = [APGD(0.1, steps=20), TargetedAPGD(0.1, steps=20, targets=1), TargetedAPGD(0.1, steps=20)]
    wrong = [classifier(attack(digits, classifier, 0.1)).argmax(1) != digits.label for attack in attacks]
    assert wrong[2].sum() >= wrong[0].sum() - 2
    assert (wrong[2] | ~wrong[1]).all()


def test_an_image_that_is_wrong_already_stays_as_it_is(trained, digits):
    other = digits._replace(label=(trained[0](digits.image).argmax(1) + 1) % 10)
    attack = TargetedAPGD(0.1, steps=5)
    assert torch.equal(attack(other, trained[0], 0.1), digits.image)
    assert attack.queries == {0.1: 1}
