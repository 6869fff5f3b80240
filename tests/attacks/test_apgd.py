"""APGD, APGD-T and AutoAttack: step sizes by hand, and as strong as PGD and as all parts."""

import pytest
import torch

import dovision as dv
from dovision.attacks._objective import Towards, likeliest_answers
from dovision.attacks.apgd import StepSizes, checkpoints

EPS = {"linf": 0.1, "l2": 0.5}


def test_checkpoints_are_those_of_the_source():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9, 10]  # 2.2, 4.1, 5.7, 7.0, 8.0, 8.7, 9.3 and 9.9, rounded up
    assert checkpoints(1) == [1]


def test_a_step_size_is_halved_where_too_few_steps_raise_the_loss():
    losses = torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 3.0], [1.0, 0.0, 0.0]])  # 3, 2 and 1 of 3 steps rise
    pace = StepSizes(steps=10, first=0.2, loss=torch.zeros(3))
    halved = [pace.halve(step, losses[:, step - 1]) for step in (1, 2, 3)]
    assert not halved[0].any()
    assert not halved[1].any()
    assert halved[2].tolist() == [False, True, True]  # of 3 steps 2.25 must rise
    assert pace.size.tolist() == pytest.approx([0.2, 0.1, 0.1])


def test_a_step_size_is_halved_where_the_highest_loss_stays_but_not_twice_in_a_row():
    pace = StepSizes(steps=100, first=0.2, loss=torch.tensor([100.0]))
    for step in range(1, 100):  # after a fall at once the loss rises at each step, and stays below its first value
        pace.halve(step, torch.tensor([0.5 * step]))
        halvings = round(torch.log2(0.2 / pace.size).item())
        assert halvings == sum(step >= checkpoint for checkpoint in (22, 57, 80, 93))


def test_an_image_goes_on_from_its_highest_loss_after_a_halving():
    pace = StepSizes(steps=10, first=0.2, loss=torch.tensor([5.0]))
    for step, loss in enumerate([4.0, 4.0, 4.0], 1):
        halved = pace.halve(step, torch.tensor([loss]))
    assert halved.item()
    pace.halve(4, torch.tensor([4.5]))  # below 5.0, from where it went on: no rise
    assert pace.halve(5, torch.tensor([5.5])).item()  # one of two


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_its_loss_is_no_lower_than_that_of_pgd_with_as_many_steps(norm, trained, digits):
    eps, gains = EPS[norm], []
    for classifier in trained:
        ours, theirs = (attack(eps, steps=20, norm=norm)(digits, classifier, eps) for attack in (dv.APGD, dv.PGD))
        loss = [classifier.task.loss(classifier(image), digits.label).mean() for image in (ours, theirs)]
        gains.append((loss[0] - loss[1]).item())
    assert sum(gains) > 0
    assert min(gains) > -0.01


def test_more_starts_never_fool_fewer_images(trained, digits):
    classifier = trained[0]
    wrong = [
        classifier(dv.APGD(0.1, steps=5, restarts=restarts)(digits, classifier, 0.1)).argmax(1) != digits.label
        for restarts in (1, 3)
    ]
    assert (wrong[1] | ~wrong[0]).all()
    assert wrong[1].sum() > wrong[0].sum()


FOUR, MULTILABEL = dv.Task("multiclass", tuple("abcd")), dv.Task("multilabel", tuple("abc"))


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
    attacks = [dv.APGD(0.1, steps=20), dv.TargetedAPGD(0.1, steps=20, targets=1), dv.TargetedAPGD(0.1, steps=20)]
    wrong = [classifier(attack(digits, classifier, 0.1)).argmax(1) != digits.label for attack in attacks]
    assert wrong[2].sum() >= wrong[0].sum() - 2
    assert (wrong[2] | ~wrong[1]).all()


def test_an_image_that_is_wrong_already_stays_as_it_is(trained, digits):
    other = digits._replace(label=(trained[0](digits.image).argmax(1) + 1) % 10)
    attack = dv.TargetedAPGD(0.1, steps=5)
    assert torch.equal(attack(other, trained[0], 0.1), digits.image)
    assert attack.queries == {0.1: 1}


PARTS_EPS = {"linf": 0.05, "l2": 0.3}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_leaves_right_what_all_of_its_parts_leave_right(norm, trained, digits):
    eps, classifier = PARTS_EPS[norm], trained[0]
    parts = [
        dv.APGD(eps, steps=10, norm=norm),
        dv.TargetedAPGD(eps, steps=10, norm=norm),
        dv.FAB(eps, steps=10, targets=9, norm=norm),
        dv.Square(eps, queries=50, norm=norm),
    ]
    alone = torch.stack([classifier(part(digits, classifier, eps)).argmax(1) == digits.label for part in parts])
    together = dv.AutoAttack(eps, steps=10, queries=50, norm=norm)(digits, classifier, eps)
    right = classifier(together).argmax(1) == digits.label
    assert torch.equal(right, alone.all(0))
    assert 0 < right.sum() < len(right)
    assert torch.equal(together[right], digits.image[right])
