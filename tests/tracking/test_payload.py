"""What is sent of a run as numbers."""

from pathlib import Path

import pytest

from dovision.store.run_record import Run, read_sweep
from dovision.tracking.payload import scalars


def summary(classes, **more):
    numbers = {"accuracy": {"estimate": 0.5, "low": 0.1}, "auroc": None, "images": 12, "eps": 0.0, "notes": []}
    return {"conditions": {"clean": numbers | {"classes": classes}}} | more


def run_with(content):
    return Run(Path("run"), "run", "completed", {}, {}, content)


def test_they_are_the_estimates_of_the_summary(fitted):
    (run,) = read_sweep(fitted / "evaluate")
    found = scalars(run)
    for condition, numbers in run.summary["conditions"].items():
        for metric in ("accuracy", "mean_abs_expected_effect", "success_rate", "calibration_error"):
            estimate = numbers[metric] and numbers[metric]["estimate"]
            assert found.get(f"{metric}/{condition}") == estimate
    assert not [name for name in found if name.startswith(("images", "prevalence"))]
    assert {type(value) for value in found.values()} == {float}


def test_those_of_a_class_bear_its_name_unless_there_are_many():
    own = {"sensitivity": {"estimate": 1}, "prevalence": {"estimate": 0.5}}
    assert scalars(run_with(summary({"No Finding": own}))) == {
        "accuracy/clean": 0.5,
        "sensitivity/clean No Finding": 1.0,
    }
    assert scalars(run_with(summary({str(number): own for number in range(51)}))) == {"accuracy/clean": 0.5}


def test_those_of_detectors_are_numbers_too():
    metrics = ["auroc", "auroc_noise", "auprc", "tpr_1", "tpr_5", "auroc_all", "false_clean_5", "false_noise_5"]
    row = {"detector": "odin", "variant": None, "fitted_on": "pgd", "attack": "fgsm", "eps": 0.1, "strength": None}
    row |= dict.fromkeys(metrics, 0.9) | {"tpr_1": None, "auroc_low": 0.8, "images": 3}
    found = scalars(run_with(summary({}, detection=[row])))
    assert found["detection_auroc/odin pgd/fgsm 0.1"] == pytest.approx(0.9)
    assert len([name for name in found if name.startswith("detection_")]) == len(metrics) - 1
