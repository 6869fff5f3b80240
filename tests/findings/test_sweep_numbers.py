"""The numbers by which jobs are compared, from summaries worked out by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest

from dovision.findings import sweep_findings as module
from dovision.findings.map_findings import PRIMARY
from dovision.findings.number_text import HEADLINE_METRICS
from dovision.findings.sweep_findings import MOVED_BY, by_factors, can_move, pivots, sweep_numbers, sweep_sentences
from dovision.store.display_names import MEAN_EFFECT, WORST_AUROC, metric_head
from dovision.store.run_record import Run

CLEAN = dict.fromkeys(("success_rate", "robust_accuracy", "mean_abs_expected_effect", "auroc", "success_8bit"))
CLEAN |= {"accuracy": {"estimate": 0.9, "low": 0.8, "high": 1.0}, "images": 40}


@pytest.fixture(autouse=True)
def without_samples(monkeypatch):
    """These runs have no tables: each number is of all images of its condition."""
    monkeypatch.setattr(module, "counted_images", lambda run: defaultdict(dict))


def score(explainer, mean, metric="energy", cases="all"):
    known = {"explainer": explainer, "metric": metric, "cases": cases, "mean": mean, "scored": 24}
    return known | {"low": mean - 0.1, "high": mean + 0.1}


def detected(detector, auroc, attack="worst case", **more):
    known = {"detector": detector, "variant": "as is", "fitted_on": "", "attack": attack, "attacker": "not adaptive"}
    return known | {"auroc": auroc, "auroc_low": auroc - 0.1, "auroc_high": auroc + 0.1, "successful": 30} | more


def run(fill, maps=(), detection=()):
    config = {"explanation": {"fill": {"_target_": f"dovision.interventions.fills.{fill}"}}}
    summary = {"conditions": {"clean": CLEAN}, "maps": list(maps), "detection": list(detection)}
    return Run(None, fill, "completed", {"overrides": [f"fill@explanation.fill={fill.lower()}"]}, config, summary)


def test_maps_come_first_by_their_first_metric_and_effect_maps_before_others():
    maps = [score("grad_cam", 0.4), score("effect_map", 0.6), score("effect_map", 0.5, "insertion")]
    found = list(sweep_numbers(run("Mean", [*maps, score("effect_map", 0.9, cases="correct")])))
    assert [each["metric"] for each in found] == ["energy/effect_map", "energy/grad_cam", "accuracy"]
    assert [found[0][name] for name in ("condition", "mean", "low", "images")] == ["clean", 0.6, 0.5, 24]
    assert metric_head("energy/grad_cam") == "energy inside of Grad-CAM"


def test_a_detector_has_its_worst_case():
    rows = [detected("feature_squeezing", 0.9), detected("feature_squeezing", 0.8), detected("effect_consistency", 0.7)]
    rows += [detected("effect_consistency", 0.1, attack="whole family"), detected("margin", 0.2, attacker="adaptive")]
    found = [(each["metric"], each["mean"]) for each in sweep_numbers(run("Mean", detection=rows))]
    assert found == [
        ("worst_case_auroc/feature_squeezing", 0.8),
        ("worst_case_auroc/effect_consistency", 0.7),
        ("accuracy", 0.9),
    ]


@pytest.mark.parametrize("least", [0.3, 0.7])
def test_a_sweep_of_maps_is_stated_by_their_scores(least):
    jobs = [run(fill, [score("effect_map", mean)]) for fill, mean in (("Mean", least), ("Blur", 0.8))]
    first, *_ = sweep_sentences(by_factors(jobs))
    assert first.startswith(f"Of 2 settings, energy inside of effect map ranges from {least:.3f} [")
    assert first.endswith("n = 24 maps.")
    assert ("their intervals overlap" in first) == (least == 0.7)
    assert [table.metric for table in pivots(by_factors(jobs))] == ["energy/effect_map"]
    without = [replace(each, summary=each.summary | {"maps": []}) for each in jobs]
    assert pivots(by_factors(without)) == []


MOVED = {  # by hand: whether a factor can change attack success, mean effect, a map's score, and a detector's AUROC
    "dataset.shortcut": "yyyyy",
    "training.classifier.epochs": "yyyyy",
    "model": "yyyyy",
    "evaluation.images": "yyyyy",
    "attack": "yynnn",
    "attack.steps": "yynnn",
    "intervention": "nynyn",
    "intervention.rows": "nynyn",
    "intervention.fill": "nynyn",
    "autoencoder": "nynyy",
    "training.autoencoder.epochs": "nynyy",
    "explainer.effect_map.intervention.rows": "nnyyn",
    "explainer.rise.cells": "nnnnn",
    "explanation.fill": "nnyyn",
    "detector.max_softmax.order": "nnnny",
    "detector.feature_squeezing.bits": "nnnnn",
    "detection.attacks.pgd.steps": "nnnny",
}
NUMBERS = ("success_rate", MEAN_EFFECT, "energy/effect_map", "true_effects/effect_map", f"{WORST_AUROC}/max_softmax")


@pytest.mark.parametrize("factor", MOVED)
def test_a_number_is_changed_by_what_it_depends_on_alone(factor):
    assert "".join("ny"[can_move(factor, number, "eps=0.1")] for number in NUMBERS) == MOVED[factor]


@pytest.mark.parametrize("number", [*HEADLINE_METRICS, *PRIMARY, WORST_AUROC])
def test_no_attack_changes_clean_images_and_all_numbers_are_declared(number):
    assert number in MOVED_BY
    assert not can_move("attack.eps", number, "clean")
    assert can_move("dataset", number, "clean")
