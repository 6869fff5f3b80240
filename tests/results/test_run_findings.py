"""Findings of runs: each sentence by kind and verdict, and what a verdict needs."""

import json
import math
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dovision.results import effect_findings, headline_effects, map_findings, sweep_findings
from dovision.results.effect_findings import change_finding, epsilon_text
from dovision.results.finding import HEADLINE_METRICS, spread_values
from dovision.results.headline_effects import Subject, subjects, without_opposite
from dovision.results.run_findings import run_findings, write_findings
from dovision.results.run_record import Run, read_run
from dovision.results.sentences import NOT_SHOWN, QUESTIONS, SHOWN, UNMOVED
from dovision.results.sweep_findings import by_factors
from dovision.results.tables import read_samples
from dovision.results.zone_effects import strongest_zone


def used(effect, beyond=(-2.0, -1.0), refuters=(), elsewhere=0.0):
    """The finding on an object by its effects, one an image."""
    effects = np.array(effect, float)
    rows = pd.DataFrame({"sample": range(len(effects)), "group": range(len(effects)), "effect": effects})
    rows = rows.assign(condition="clean", effect_elsewhere=elsewhere)
    row = {"mean": sum(beyond) / 2, "low": beyond[0], "high": beyond[1]}
    averages = row, {"beyond": "mean"}, {}, 0.95, {number: {} for number in range(len(refuters))}
    subject = Subject("object", "tag", "disease", "disease", "black over it", rows, rows.iloc[:0], *averages)
    summary = {"conditions": {"clean": {"images": len(effects)}}, "labels": {"disease": len(effects)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effect_findings, "has_rows", lambda folder: True)
        patch.setattr(effect_findings, "verdict", lambda run, number, *subject: refuters[number])
        (found,) = effect_findings.use_findings(Run(Path("nowhere"), "", "completed", {}, {}, summary), [subject])
    return found


@pytest.mark.parametrize(
    ("effect", "more", "verdict"),
    [
        ([-0.4] * 12, {}, SHOWN),
        ([-0.4] * 12, {"beyond": (-2.0, 0.1)}, NOT_SHOWN),  # not beyond its control
        ([-0.4] * 12, {"beyond": (1.0, 2.0)}, NOT_SHOWN),
        ([-0.4] * 8 + [0.1] * 4, {}, NOT_SHOWN),  # 8 of 12 may be one half
        ([-0.04] * 12, {}, NOT_SHOWN),  # too little of P
        ([-0.4] * 12, {"refuters": [(True, "placebo region failed")]}, NOT_SHOWN),
        ([0.4] * 12, {"beyond": (1.0, 2.0)}, SHOWN),
        ([0.0] * 12, {}, UNMOVED),
    ],
)
def test_uses_needs_a_difference_to_the_control_most_images_and_a_twentieth_of_p(effect, more, verdict):
    assert used(effect, **more).verdict == verdict


def test_a_use_is_told_by_its_median_with_the_control_and_a_dot_an_image():
    found = used([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.9], elsewhere=0.01)
    assert found.text == "It uses the tag: black over it, P(disease) falls in 7 of 7 images, by 0.40."
    assert (found.number.value, found.number.low, found.control.value) == (-0.4, -0.9, 0.01)
    assert found.spread["subject"] == [-0.9, -0.6, -0.5, -0.4, -0.3, -0.2, -0.1]
    assert dict(found.detail)["range"] == "-0.900 to -0.100"
    refuted = used([-0.1] * 9, refuters=[(False, "placebo region passed")])
    assert refuted.detail[-1] == ("refuters", "placebo region passed")
    assert len(spread_values(np.arange(9999))) == 400


@pytest.mark.parametrize(
    ("row", "column", "text"),
    [
        (7, 7, "in the middle"),
        (9, 4, "lower left of the middle"),
        (10, 7, "below the middle"),
        (0, 13, "at the upper right"),
    ],
)
def test_a_place_has_words_that_fit(row, column, text):
    edges = [(16 * r, 16 * r + 16, 16 * c, 16 * c + 16) for r, c in np.ndindex(14, 14)]
    units = pd.DataFrame(edges, columns=["top", "bottom", "left", "right"])
    assert effect_findings.place_text(units.iloc[[14 * row + column]], units) == text


def test_findings_are_read_back_from_their_file(tmp_path, write_run):
    write_run(tmp_path, eps=(0.2,), images=20, grid=2, maps=6)
    run = read_run(tmp_path)
    found = run_findings(run)
    write_findings(run, run.folder)
    (tmp_path / "effects.parquet").unlink()
    read = run_findings(run)
    assert [one.text for one in read] == [one.text for one in found]
    assert json.dumps([one.to_dict() for one in read]) == json.dumps([one.to_dict() for one in found])
    assert {one.question for one in found} == {"uses", "attacked", "limits"} < {*QUESTIONS}
    assert {"sample", "condition", "unit", "label", "before", "after", "painted"} < found[0].picture.keys()
    before, after = found[0].picture["before"], found[0].picture["after"]
    assert 0 <= after < before <= 1


def test_objects_have_their_effect_on_one_of_two_exclusive_classes_if_it_has_all_of_them():
    rows = pd.DataFrame({"kind": ["tag", "tag", "lesion"], "class": ["normal", "sick", "sick"]})
    places = [[*without_opposite(rows, opposite).index] for opposite in ("normal", "sick", None)]
    assert places == [[1, 2], [0, 1, 2], [0, 1, 2]]  # the second class may be "normal"


@pytest.mark.parametrize(("mean", "verdict"), [(0.2, SHOWN), (-0.2, SHOWN), (0.0, NOT_SHOWN)])
def test_maps_are_compared_by_their_paired_difference_and_told_by_their_medians(mean, verdict):
    random = np.random.default_rng(0)
    rows = [
        {"explainer": name, "sample": sample, "class": "a", "group": sample, "energy": 0.4 + shift + noise}
        for sample, noise in enumerate(random.normal(0, 0.1, 40))
        for name, shift in (("grad_cam", 0.05 * (-1) ** sample), ("effect_map", mean))
    ]
    (one,) = map_findings.against(pd.DataFrame(rows), "effect_map", "grad_cam", "energy", 0.95)
    assert one.verdict == verdict
    better = "Effect map beats Grad-CAM" if mean > 0 else "Grad-CAM beats effect map"
    assert one.text.startswith(better if mean else "Effect map and Grad-CAM are not shown to differ")
    assert one.text.endswith(f": {one.number.value:.2f} {'against' if mean else 'and'} {one.control.value:.2f}.")
    assert len(one.spread["subject"]) == len(one.spread["control"]) == 40


def of_quality(number, labels=("a", "b"), **classes):
    """A run of maps by the quality of its classifier: (low, high) of the balanced accuracy, or of AUROC by label."""
    plain = {name: {"estimate": sum(ends) / 2, "low": ends[0], "high": ends[1]} for name, ends in classes.items()}
    clean = {"accuracy": None, "images": 40, "balanced_accuracy": None}
    clean["classes"] = {name: {"auroc": own, "balanced_accuracy": {}} for name, own in plain.items()}
    if number:
        clean["balanced_accuracy"] = {"estimate": sum(number) / 2, "low": number[0], "high": number[1]}
    counts = labels if isinstance(labels, dict) else dict.fromkeys(labels, 20)
    return Run(None, "job", "completed", {}, {}, {"conditions": {"clean": clean}, "labels": counts, "maps": []})


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (of_quality((0.4, 0.6)), "balanced accuracy 0.50 is not shown to beat chance, 0.50."),
        (of_quality((0.2, 0.4)), "balanced accuracy 0.30 is"),  # below it
        (of_quality((0.51, 0.7)), None),
        (of_quality((0.24, 0.5), "abcd"), "chance, 0.25."),
        (of_quality(None), None),  # without labels
        (of_quality(None, a=(0.4, 0.6)), "classes: AUROC 0.50 is not shown to beat chance, 0.50."),
        (of_quality(None, a=(0.4, 0.6), b=(0.45, 0.65)), "largest AUROC of a label 0.55 is"),
        (of_quality(None, **dict.fromkeys("bc", (0.4, 0.6)), a=(0.51, 0.7)), "largest AUROC of a label 0.60"),
        (of_quality(None, **dict.fromkeys("bc", (0.51, 0.7)), a=(0.4, 0.6)), None),
        (of_quality((0.4, 0.6), {"a": 20, "b": 20, "c": 0}), "chance, 0.50"),
    ],
)
def test_of_a_classifier_at_chance_no_map_is_said_to_be_better(run, said, monkeypatch):
    monkeypatch.setattr(sweep_findings, "counted_images", lambda run: defaultdict(dict))
    found = map_findings.at_chance(run)
    assert (found is None) == (said is None)
    assert found is None or said in found.text
    maps = [{"explainer": "m", "metric": "energy", "cases": "all", "mean": 0.5, "low": 0.4, "high": 0.6, "scored": 40}]
    clean = dict.fromkeys(HEADLINE_METRICS) | run.summary["conditions"]["clean"]
    frame = by_factors([replace(run, summary=run.summary | {"maps": maps, "conditions": {"clean": clean}})])
    assert len(frame) == (said is None)
    limits = [one for one in sweep_findings.sweep_findings(frame) if one.question == "limits"]
    assert [one.text for one in limits] == ["Which map is better in jobs not shown to beat chance: 1."] * bool(said)


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        ({"norm": "l2"}, "L2"),
        ({"norm": "linf"}, "Linf"),
        ({"norm": "l1"}, "L1"),
        ({"method": "EADAttack"}, "L1"),
        ({"_target_": "dovision.attacks.spatial.Spatial"}, "spatial"),
        ({}, "Linf"),  # as it is measured: each pixel moves by .2
    ],
)
def test_an_attack_has_its_norm_and_the_images_that_it_turned(attack, norm, tmp_path, write_run):
    write_run(tmp_path, images=20, eps=(0.2,), grid=2, maps=0)
    run = read_run(tmp_path)
    part = {"_target_": "dovision.attacks.gradient_ascent.PGD"} | attack
    success = read_samples(tmp_path).query("condition == 'eps=0.2'")["success"]
    of, won = int(success.count()), int((success == 1).sum())
    (found,) = effect_findings.attack_success(replace(run, config={**run.config, "attack": part}))
    assert found.text.endswith(f" at {norm} epsilon 0.2 turned {won} of {of} right answers.")
    assert found.number[:1] == pytest.approx((won / of,))
    assert len(found.spread["subject"]) == len(found.spread["control"]) == of


def test_an_epsilon_of_255_is_in_grey_levels():
    texts = [epsilon_text(*one) for one in (("Linf", "4/255"), ("Linf", "1/255"), ("L2", "4/255"), ("Linf", "0.1"))]
    assert texts == ["4 grey levels", "1 grey level", "L2 epsilon 4/255", "Linf epsilon 0.1"]


@pytest.mark.parametrize(
    ("attacked", "words"),
    [
        (-0.2, "counts less: 0.20, against 0.40"),
        (-0.8, "counts more: 0.80, against 0.40"),
        (-0.4, "is not shown to count otherwise: 0.40, 0.40"),
        (0.8, "counts for the opposite: 0.80, against 0.40"),
    ],
)
def test_the_change_of_an_effect_has_a_word(attacked, words):
    sizes = {"clean": -0.4, "eps=0.2": attacked}
    cells = [(n, name, size, size * (5 + n % 7) + (n % 3) / 9) for name, size in sizes.items() for n in range(21)]
    rows = pd.DataFrame(cells, columns=["sample", "condition", "effect", "log_odds_effect"])
    subject = Subject("zone", "top", "a", "a", "", rows.assign(group=rows["sample"]), rows, {}, {}, {}, 0.95, {})
    (found,) = change_finding(subject, "eps=0.2")
    assert f"Under attack the top {words}" in found.text


def test_a_zone_that_few_images_have_is_not_the_strongest():
    """Zones of 20 images at -2 and 0, and one of 4 at -9."""
    frames = [
        pd.DataFrame({"sample": range(count), "zone": zone, "log_odds_beyond": value, "log_odds_effect": value})
        for zone, count, value in (("top", 20, -2.0), ("bottom", 20, 0.0), ("left", 4, -9.0))
    ]
    rows = pd.concat(frames).assign(condition="clean", of="true class", effect=0.0, effect_elsewhere=0.0)
    zone, means = strongest_zone(rows.assign(beyond_frame=math.nan, group=rows["sample"]))
    assert (zone, means["level"].item(), means["images"].item()) == ("top", 0.975, 20)


@pytest.mark.parametrize(("low", "words"), [(0.2, "Effects are spread"), (0.4, "Few units decide")])
def test_a_network_relies_on_few_units_if_they_have_more_than_their_share(low, words, monkeypatch, tmp_path, write_run):
    write_run(tmp_path, eps=(), images=40, grid=None, maps=0)
    row = headline_effects.few_units(tmp_path) | {"few": 4, "units": 16, "share_low": low}
    monkeypatch.setattr(headline_effects, "few_units", lambda folder: row)
    (found,) = effect_findings.use_findings(read_run(tmp_path), subjects(tmp_path))
    assert found.text.startswith(f"{words}: the strongest 4 of 16 make up 0.")


@pytest.mark.parametrize("images", [1, 12])
def test_pictures_of_too_few_images_or_without_labels_have_a_sentence_each(images, tmp_path, write_run):
    write_run(tmp_path, images=images, eps=(), grid=2, maps=1, labelled=images == 1)
    write_findings(read_run(tmp_path), tmp_path)
    found, *limits = run_findings(read_run(tmp_path))
    pattern = r"digit_\d+\.png( is a guess|: black over (its strongest|any) cell, P\(\d\) (falls from|stays near) 0\.)"
    assert re.match(pattern, found.text), found.text
    assert limits[0].name == ("limit_average" if images == 1 else "limit_labels")
