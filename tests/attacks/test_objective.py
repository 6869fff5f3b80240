"""Losses of attacks, and what an attack goes for, by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dovision as dv
from dovision.attacks._objective import Objective

MULTICLASS = dv.Task("multiclass", ("cat", "dog", "eel"))
MULTILABEL = dv.Task("multilabel", ("cat", "dog", "eel"), thresholds=(0.5, 0.2, 0.9))
LOGITS = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]])
LABEL = torch.tensor([1, 0])
ANSWERS = torch.tensor([[1.0, 1.0, 0.0], [1.0, torch.nan, 1.0]])  # the second row is wrong of the eel


def test_without_a_target_the_loss_of_the_label_is_raised_until_another_class_is_said():
    objective = Objective(dv.margin, None)
    assert objective(LOGITS, LABEL, MULTICLASS).tolist() == [-3, 3]
    assert objective.reached(LOGITS, LABEL, MULTICLASS).tolist() == [False, True]


@pytest.mark.parametrize("target", ["dog", 1])
def test_a_target_is_a_class_whose_own_loss_is_lowered_until_it_is_said(target):
    objective = Objective(dv.task_loss, target)
    torch.testing.assert_close(
        objective(LOGITS, LABEL, MULTICLASS), -MULTICLASS.loss(LOGITS, torch.tensor([1, 1])), rtol=0, atol=0
    )
    assert objective.reached(LOGITS, LABEL, MULTICLASS).tolist() == [True, True]
    assert Objective(dv.task_loss, "cat").reached(LOGITS, LABEL, MULTICLASS).tolist() == [False, False]


def test_several_labels_are_all_pushed_and_one_wrong_answer_is_enough():
    objective = Objective(dv.task_loss, None)
    torch.testing.assert_close(objective(LOGITS, ANSWERS, MULTILABEL), MULTILABEL.loss(LOGITS, ANSWERS))
    logits = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 3.0]])
    assert objective.reached(logits, ANSWERS, MULTILABEL).tolist() == [False, False]  # 1.0 is below the threshold of .9
    assert objective.reached(LOGITS, ANSWERS, MULTILABEL).tolist() == [False, True]


def test_the_target_of_several_labels_is_the_only_one_that_counts():
    eel, dog = Objective(dv.task_loss, "eel"), Objective(dv.task_loss, "dog")
    expected = [torch.tensor(1.0).exp().log1p(), torch.tensor(-1.0).exp().log1p()]
    torch.testing.assert_close(eel(LOGITS, ANSWERS, MULTILABEL), torch.stack(expected))
    assert eel.reached(LOGITS, ANSWERS, MULTILABEL).tolist() == [False, True]
    assert dog(LOGITS, ANSWERS, MULTILABEL)[1] == 0  # it is not known of the second image
    assert not dog.reached(LOGITS, ANSWERS, MULTILABEL)[1]


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.floats(-8, 8).map(lambda value: round(value, 2) + 0.001), min_size=3, max_size=3, unique=True),
    label=st.integers(0, 2),
    answers=st.lists(st.sampled_from([0.0, 1.0, torch.nan]), min_size=3, max_size=3),
    target=st.sampled_from([None, 0, 1, 2]),
)
def test_the_aim_is_reached_where_and_only_where_a_wanted_answer_leads(logits, label, answers, target):
    objective, logits = Objective(dv.margin, target), torch.tensor([logits])
    for labels, task in ((torch.tensor([label]), MULTICLASS), (torch.tensor([answers]), MULTILABEL)):
        leads = (objective.leads(logits, labels, task) > 0).any(1)
        assert torch.equal(leads, objective.reached(logits, labels, task))


def test_a_targeted_attack_makes_the_classifier_say_the_target(trained, digits):
    attacked = dv.PGD(0.5, steps=20, target="3")(digits, trained[0], 0.5)
    assert (trained[0](attacked).argmax(1) == 3).float().mean() > 0.95


def test_a_targeted_attack_on_one_of_several_labels_makes_its_answer_wrong(multilabel_classifier, multilabel_batch):
    objective = Objective(dv.task_loss, "b")
    label, task = multilabel_batch.label, multilabel_classifier.task
    attacked = dv.PGD(0.5, steps=20, target="b")(multilabel_batch, multilabel_classifier, 0.5)
    assert objective.reached(multilabel_classifier(attacked), label, task).all()


ONE_OF = dv.Task("multiclass", ("a", "b", "c"))
EACH_OF = dv.Task("multilabel", ("a", "b", "c"))


def test_the_multilabel_margin_counts_from_the_thresholds_and_leaves_out_what_is_not_known():
    task = dv.Task("multilabel", ("a", "b", "c"), thresholds=(0.5, torch.tensor(4.0).sigmoid().item(), 0.5))
    label = torch.tensor([[1.0, 0.0, torch.nan], [torch.nan] * 3])
    torch.testing.assert_close(dv.margin(LOGITS, label, task), torch.tensor([-2.0 + (5 - 4), 0.0]))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_dlr_is_the_margin_by_the_distance_from_first_to_third_whatever_the_scale(scale):
    label = torch.tensor([1, 0])  # predicted rightly; beaten by 3, which is 3/4 of the way from the first to the third
    torch.testing.assert_close(dv.dlr(LOGITS * scale, label, ONE_OF), torch.tensor([-0.75, 0.75]))


def test_dlr_of_equal_logits_is_zero():
    assert dv.dlr(torch.ones(1, 3), torch.tensor([0]), ONE_OF).item() == 0


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (dv.Task("multiclass", ("no", "yes")), "at least 3 classes, got a multiclass one"),
        (EACH_OF, "got a multilabel one of .*Take the loss margin"),
    ],
)
def test_dlr_of_two_classes_and_of_several_labels_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        dv.dlr(LOGITS[:, : len(task.classes)], torch.tensor([1, 0]), task)
