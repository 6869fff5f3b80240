"""Headline numbers against hand counts and scikit-learn."""

import json
import math

import pytest
import torch

from dovision.measurement.condition import Condition, sample_rows
from dovision.propagation import Outcome
from dovision.results.schemas import METRICS
from dovision.results.summary import label_counts, summarise, write_summary
from dovision.results.tables import CLEAN, SAMPLES, TableWriter, samples_schema
from dovision.types import Batch, Task

pytestmark = pytest.mark.usefixtures("few_images")
TASK = Task("multiclass", ("cat", "dog"))
ALL_CATS = dict.fromkeys(("balanced_accuracy", "classifier_auroc", "sensitivity"))  # of the images of `write`
SURE = 1 / (1 + math.exp(-3))  # the probability of what is predicted there, right or wrong


def write(folder, right_after, scores_after=(0.4, 0.3, 0.1, 0.1)):
    """Four images, the first three right before; mean |expected effect| follows from the treated probability."""
    label = torch.zeros(4, dtype=torch.int64)
    batch = Batch(torch.zeros(4, 1, 2, 2), label, torch.arange(4), torch.arange(4))
    right_before = torch.tensor([True, True, True, False])
    conditions = []
    with TableWriter(folder / SAMPLES, samples_schema(TASK)) as table:
        for attack, eps, right, scores in [
            (CLEAN, 0.0, right_before, (0.1, 0.2, 0.2, 0.3)),
            ("pgd", 0.1, torch.tensor(right_after), scores_after),
        ]:
            logits = torch.stack([right.float() * 2 - 1, torch.zeros(4)], dim=1) * 3
            conditions.append(Condition(attack, eps, batch, logits, right))
            treated = torch.tensor([[[1 - s, s]] for s in scores]).log()
            outcome, done = Outcome(("unit",), torch.tensor([[30.0, 0.0]]).expand(4, 2), treated), torch.ones(4, 1) > 0
            at_8_bits = right if eps else None
            table.write(sample_rows(conditions[-1], conditions[0], outcome, done, list("abcd"), TASK, at_8_bits))
    return folder


def estimates(found):
    return {metric: found[metric] and found[metric]["estimate"] for metric in METRICS}


def test_shares_are_those_counted_by_hand_and_what_one_class_does_not_define_is_noted(tmp_path):
    summary = summarise(write(tmp_path, right_after=[False, False, True, True]))
    assert estimates(summary["conditions"]["clean"]) == pytest.approx(
        {"accuracy": 0.75, "mean_abs_expected_effect": 0.2, **ALL_CATS, "specificity": 0.75}
        | dict.fromkeys(("success_rate", "success_8bit", "robust_accuracy", "auroc"))
        | {"calibration_error": SURE - 0.75},
        abs=1e-6,
    )
    # two of the three images right before were beaten; one of four is right before and after
    # scores .4 and .3 against .1, .2, .2, .3: 7.5 of 8 pairs
    assert estimates(summary["conditions"]["eps=0.1"]) == pytest.approx(
        {"accuracy": 0.5, "success_rate": 2 / 3, "success_8bit": 2 / 3, "robust_accuracy": 0.25}
        | {"mean_abs_expected_effect": 0.225, "auroc": 7.5 / 8, **ALL_CATS, "specificity": 0.5}
        | {"calibration_error": SURE - 0.5},
        abs=1e-6,
    )
    assert summary["conditions"]["eps=0.1"]["images"] == 4
    assert summary["conditions"]["eps=0.1"]["accuracy"]["clusters"] == 4
    assert summary["conditions"]["eps=0.1"]["success_rate"]["clusters"] == 3
    assert summary["labels"] == {"cat": 4, "dog": 0}
    assert label_counts(summary["labels"]) == "cat 4, dog 0"
    assert summary["conditions"]["clean"]["notes"] == [
        "No image of dog, so no sensitivity and no AUROC of it; means leave it out.",
        "All images are of cat, so no specificity and no AUROC of it.",
    ]
    classes = summary["conditions"]["clean"]["classes"]
    assert {name: set(found) for name, found in classes.items()} == {
        "cat": {"images", "prevalence", "accuracy", "sensitivity"},
        "dog": {"images", "prevalence", "specificity"},
    }
    assert classes["cat"]["accuracy"]["estimate"] == 0.75


def test_without_a_successful_attack_there_is_no_auroc_but_a_sentence(tmp_path):
    summary = write_summary(write(tmp_path, right_after=[True, True, True, False]))
    condition = summary["conditions"]["eps=0.1"]
    assert condition["success_rate"]["estimate"] == 0
    assert condition["auroc"] is None
    (note,) = condition["notes"]
    assert "epsilon 0.1" in note
    assert "AUROC" in note
    text = (tmp_path / "summary.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == summary
