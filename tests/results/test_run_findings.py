"""Sentences of runs: what they say follows from intervals, and how many images they speak of."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

import made_runs
from dovision.functional.intervals import SPREAD, Number, withheld
from dovision.results import effect_findings, headline_effects, map_findings, sweep_findings
from dovision.results.finding import HEADLINE_METRICS, Finding, direction, in_brackets
from dovision.results.headline_effects import without_opposite
from dovision.results.run_findings import run_findings
from dovision.results.run_record import Run, read_run
from dovision.results.sweep_findings import by_factors, sweep_sentences
from dovision.results.tables import read_samples
from dovision.results.zone_effects import strongest_zone


@pytest.mark.parametrize(
    ("low", "high", "way"), [(0.1, 0.3, 1), (-0.3, -0.1, -1), (-0.1, 0.3, 0), (0.0, 0.3, 0), (None, None, 0)]
)
def test_a_direction_is_claimed_only_where_the_interval_leaves_out_zero(low, high, way):
    assert direction({"mean": 0.2, "low": low, "high": high}) == way
    assert direction({"x": 0.2, "x_low": low, "x_high": high}, "x") == way


def test_a_number_stands_with_its_interval_and_a_withheld_one_with_a_dash():
    assert in_brackets({"mean": -0.15, "low": -0.21, "high": -0.1}) == "-0.150 [-0.210, -0.100]"
    assert in_brackets({"mean": 0.15, "low": None, "high": None}, form=".2f") == "0.15 [no interval]"


def test_loggers_get_the_number_and_its_ends_without_what_is_withheld():
    assert Finding("auroc", "Text.", withheld(0.5, 4, "")).logged() == {"finding/auroc": 0.5}
    logged = Finding("auroc", "Text.", Number(0.5, 0.4, 0.6, 4, "", "")).logged()
    assert logged == {"finding/auroc": 0.5, "finding/auroc_low": 0.4, "finding/auroc_high": 0.6}


def test_of_noise_no_zone_is_shown_to_be_used(tmp_path, write_run):
    write_run(tmp_path, eps=(), images=12, grid=2, maps=0)
    zone, limit = run_findings(read_run(tmp_path))
    assert " is not shown to use the " in zone.text
    assert " of the image more than the rest: a cell there, painted black, " in zone.text
    assert "by one elsewhere" not in zone.text
    assert "the strongest of the image's zones, so at 98.8%; n = 6 groups, 12 images" in zone.text
    assert zone.number.n == 12
    assert limit.text == ("Whether another fill agrees: one alone was painted, black. A refuter tries a second one.")


@pytest.mark.slow
def test_true_effects_come_first_and_then_maps_are_compared_with_grad_cam(map_run):
    run = read_run(map_run)
    for own in run.summary["conditions"]["clean"]["classes"].values():
        own["auroc"] = {"estimate": 0.9, "low": 0.8, "high": 1.0}
    truth, _, maps, random, *_ = run_findings(run)
    assert maps.name == "true_effects_minus_grad_cam"
    assert re.search(r"of the effect map is higher than that of Grad-CAM \(\+0\.\d+ \[\+", maps.text)
    assert maps.number.low > 0
    assert "energy inside: lower (-" in maps.text
    assert "pointing game: not decided (" in maps.text
    assert random.name == "maps_minus_random"
    assert re.match(
        r"The network uses the nodule: taking it away lowers P\(nodule\) in \d+ of \d+ (images|groups) \[0\.\d\d, .*"
        r"\], median -0\.\d+ \[-.*\], from -0\.\d+ to .* It lowers the log-odds of nodule by \d\.\d+ \[\d.*; "
        r"P\(nodule\) changes by -0",
        truth.text,
    )
    assert f" groups, {truth.number.n} images" in truth.text


@pytest.mark.parametrize(
    ("images", "scale", "text"),
    [
        (
            1,
            1.0,
            r"digit_0000\.png: one cell in the upper left, painted black, takes 0\.\d+ off P\(0\) = 0\.994; the other",
        ),
        (12, 0.0, r"No cell, painted black, changes P\(true class\): each effect is 0\.000 \(n = 12 images\)\."),
    ],
)
def test_one_image_has_no_average_and_nothing_is_said_to_be_nothing(
    images, scale, text, tmp_path, write_run, monkeypatch
):
    monkeypatch.setattr("made_runs._treated", partial(treated, made_runs._treated, scale))
    write_run(tmp_path / "run", images=images, eps=(), grid=2, maps=1)
    found, *_ = run_findings(read_run(tmp_path / "run"))
    assert re.match(text, found.text), found.text


def treated(made, scale, image, logits, *arguments):
    """What `made` returns, with so much of each effect on logits."""
    found, units, regions = made(image, logits, *arguments)
    return logits.unsqueeze(1) + scale * (found - logits.unsqueeze(1)), units, regions


def test_objects_have_their_effect_on_one_of_two_exclusive_classes_if_it_has_all_of_them():
    tag, lesion = [{"kind": "tag", "class": name} for name in ("normal", "sick")], {"kind": "lesion", "class": "sick"}
    assert without_opposite([*tag, lesion], "normal") == [tag[1], lesion]
    assert without_opposite([*tag, lesion], "sick") == [*tag, lesion]  # the second class is "normal"
    assert without_opposite([*tag, lesion], None) == [*tag, lesion]


def test_the_best_of_several_maps_has_a_wider_interval_that_says_so():
    random = np.random.default_rng(0)
    rows = [
        {"explainer": name, "sample": sample, "class": "a", "group": sample, "energy": mean + random.normal(0, 0.3)}
        for name, mean in (("grad_cam", 0.0), ("effect_map", 0.1), ("effect_map_mean", 0.12))
        for sample in range(40)
    ]
    frame = pd.DataFrame(rows).assign(pointing=np.nan)
    one = map_findings._against(frame, "effect_map_mean", "grad_cam", "energy", 0.95, 1)
    two = map_findings._against(frame, "effect_map_mean", "grad_cam", "energy", 0.975, 2)
    assert np.ptp(two.number[1:3]) > np.ptp(one.number[1:3])
    assert "the best of 2 effect maps, so at 97.5%" in two.text
    assert "best of" not in one.text


def of_quality(number, labels=("a", "b"), **classes):
    """A run of maps by the quality of its classifier: (low, high) of the balanced accuracy, or of AUROC by label."""
    plain = {name: {"estimate": sum(ends) / 2, "low": ends[0], "high": ends[1]} for name, ends in classes.items()}
    clean = {"accuracy": None, "images": 40, "balanced_accuracy": None}
    clean["classes"] = {name: {"auroc": own, "balanced_accuracy": {}} for name, own in plain.items()}
    if number:
        clean["balanced_accuracy"] = {"estimate": sum(number) / 2, "low": number[0], "high": number[1]}
    summary = {
        "conditions": {"clean": clean},
        "labels": labels if isinstance(labels, dict) else dict.fromkeys(labels, 20),
        "maps": [],
    }
    return Run(None, "job", "completed", {}, {}, summary)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (of_quality((0.4, 0.6)), "balanced accuracy 0.500 [0.400, 0.600], chance 0.5; n = 40 images"),
        (of_quality((0.2, 0.4)), "balanced accuracy 0.300 [0.200, 0.400], chance 0.5"),  # below it
        (of_quality((0.51, 0.7)), None),
        (of_quality((0.24, 0.5), "abcd"), "chance 0.25"),
        (of_quality((0.26, 0.5), "abcd"), None),
        (of_quality(None), None),  # without labels
        (of_quality(None, a=(0.4, 0.6)), "(AUROC 0.500 [0.400, 0.600], chance 0.5"),
        (of_quality(None, a=(0.4, 0.6), b=(0.45, 0.65)), "(largest AUROC of a label 0.550 [0.450, 0.650], chance 0.5"),
        (of_quality(None, a=(0.4, 0.6), b=(0.55, 0.65)), None),
        (of_quality(None, **dict.fromkeys("bc", (0.4, 0.6)), a=(0.51, 0.7)), "0.5, above it on 1 of 3 labels; n = 40"),
        (of_quality(None, **dict.fromkeys("bc", (0.51, 0.7)), a=(0.4, 0.6)), None),
        (of_quality((0.4, 0.6), {"a": 20, "b": 20, "c": 0}), "balanced accuracy 0.500 [0.400, 0.600], chance 0.5"),
    ],
)
def test_of_a_classifier_at_chance_no_map_is_said_to_be_better(run, said, monkeypatch):
    monkeypatch.setattr(sweep_findings, "counted_images", lambda run: defaultdict(dict))
    found = map_findings.at_chance(run)
    assert (found is None) == (said is None)
    assert found is None or said in found.text
    maps = [{"explainer": "m", "metric": "energy", "cases": "all", "mean": 0.5, "low": 0.4, "high": 0.6, "scored": 40}]
    numbers = dict.fromkeys(HEADLINE_METRICS)
    clean = numbers | run.summary["conditions"]["clean"]
    jobs = [replace(run, summary=run.summary | {"maps": maps, "conditions": {"clean": clean}})]
    frame = by_factors(jobs)
    assert len(frame) == (said is None)
    assert len(frame) == 1 or "job" in " ".join(sweep_sentences(frame))


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        ({"norm": "l2"}, "L2"),
        ({"norm": "linf"}, "Linf"),
        ({"attack": {"norm": "l2"}}, "L2"),  # transferred
        ({"norm": "l1"}, "L1"),
        ({"_target_": "dovision.attacks.foolbox_attacks.EAD"}, "L1"),
        ({"_target_": "dovision.attacks.spatial.Spatial"}, "spatial"),
        ({}, "Linf"),  # as it is measured: each pixel moves by .2
    ],
)
def test_an_attack_has_its_norm_and_the_images_that_it_is_a_share_of(attack, norm, tmp_path, write_run):
    write_run(tmp_path, images=20, eps=(0.2,), grid=2, maps=0)
    run = read_run(tmp_path)
    part = {"_target_": "dovision.attacks.gradient_ascent.PGD"} | attack
    success = read_samples(tmp_path).query("condition == 'eps=0.2'")["success"]
    of, won = int(success.count()), int((success == 1).sum())
    assert won < of < 20
    found = {
        each.name: each for each in effect_findings.attack_findings(replace(run, config={**run.config, "attack": part}))
    }
    assert found["attack_success"].text.split(" at ")[0] in ("PGD", "EAD", "rotation and shift")
    assert f" at {norm} epsilon 0.2 succeeds on " in found["attack_success"].text
    assert found["attack_success"].text.endswith(f"predicted rightly before (n = {of} of 20 images).")
    assert f"{norm} epsilon 0.2; n = {won} successfully attacked images against 20 clean ones" in (
        found["effect_auroc"].text
    )
    assert (found["attack_success"].number.n, found["effect_auroc"].number.n) == (of, won)
    assert {
        each["metric"]: each["images"] for each in sweep_findings.sweep_numbers(run) if each["condition"] != "clean"
    }.items() >= {"success_rate": of, "auroc": won, "mean_abs_expected_effect": 20}.items()


@pytest.mark.parametrize(
    ("attacked", "change", "words"),
    [
        ((-0.9, -0.7), (0.1, 0.3), "shrinks"),
        ((-2.0, -1.6), (-1.0, -0.6), "grows"),
        ((-1.1, -0.9), (-0.1, 0.1), "is not shown to change"),
        ((1.8, 2.2), (2.8, 3.2), "is reversed"),  # twice as large
    ],
)
def test_the_change_of_an_effect_has_a_word(attacked, change, words, monkeypatch):
    ends = {"clean": (-1.1, -0.9), "attacked": attacked, "change": change}
    row = {
        f"{name}_{end}": value for name, pair in ends.items() for end, value in zip(("low", "high"), pair, strict=True)
    }
    row |= {name: sum(pair) / 2 for name, pair in ends.items()} | {"images": 40}
    names = {"subject": "a cell at the top", "odds": "the true class"}
    subject = pd.DataFrame(), 0.99, "so at 99%; ", names
    monkeypatch.setattr(effect_findings, "_subject", lambda run, condition: subject)
    monkeypatch.setattr(effect_findings, "change_of_effect", lambda rows, condition, level: {0.99: row}[level])
    names = {"attack_success": lambda run: iter(()), "has_rows": lambda folder: True, "_attack_text": lambda *of: "PGD"}
    for name, function in names.items():
        monkeypatch.setattr(effect_findings, name, function)
    numbers = {"eps": 0.2, "success_rate": {}, "auroc": None}
    summary = {"labels": {"a": 40}, "conditions": {"clean": {}, "eps=0.2": numbers}}
    (found,) = effect_findings.attack_findings(Run(None, "", "completed", {}, {}, summary))
    assert f"on the log-odds of the true class {words}: " in found.text
    assert found.text.endswith(", paired (so at 99%; n = 40 images).")


def test_a_zone_that_few_images_have_is_not_the_strongest():
    """Zones of 20 images at -2 and 0, and one of 4 at -9."""
    frames = [
        pd.DataFrame({"sample": range(count), "zone": zone, "log_odds_beyond": value, "log_odds_effect": value})
        for zone, count, value in (("top", 20, -2.0), ("bottom", 20, 0.0), ("left", 4, -9.0))
    ]
    rows = pd.concat(frames).assign(condition="clean", of="true class", effect=0.0, effect_elsewhere=0.0)
    zone, means = strongest_zone(rows.assign(beyond_frame=math.nan, group=rows["sample"]))
    assert (zone, means["level"].item(), means["images"].item()) == ("top", 0.975, 20)


@pytest.mark.parametrize(("low", "words"), [(0.2, "is not shown to rely on"), (0.4, "relies on")])
def test_a_network_relies_on_few_units_if_they_have_more_than_their_share(low, words, monkeypatch, tmp_path, write_run):
    write_run(tmp_path, eps=(), images=40, grid=None, maps=0)
    row = effect_findings.few_units(tmp_path) | {"few": 4, "units": 16, "share_low": low}
    monkeypatch.setattr(effect_findings, "few_units", lambda folder: row)
    (found,) = effect_findings.use_findings(read_run(tmp_path))
    assert found.text.startswith(f"The network {words} 4 of 16 units: ")


def test_the_class_that_an_object_changes_most_has_an_interval_of_the_level_of_the_chosen(monkeypatch):
    """One of four classes: 1 - .05 / 4, with intervals of half a width of 1 at 95%, of 2 at that level."""

    def table(folder, level=0.95):
        half = {0.95: 1.0, 0.9875: 2.0}[level]
        sizes = {"a": 0.1, "b": -1.5, "c": 0.2, "d": 0.3}
        key = {"condition": "clean", "kind": "nodule", "images": 40, "mean": -0.1, "low": -0.2, "high": -0.05}
        key |= dict(zip(SPREAD, (18, 0.69, 1.0, -0.12, -0.2, -0.1, -0.3, 0.02), strict=True)) | {"clusters": 19}
        ends = {"log_odds": 0.0, "log_odds_low": -half, "log_odds_high": half}
        rows = ({end: size + own for end, own in ends.items()} | {"class": name} for name, size in sizes.items())
        return pd.DataFrame([key | own for own in rows])

    monkeypatch.setitem(effect_findings.OBJECT_TABLES, "object_effects", table)
    monkeypatch.setattr(headline_effects, "read_task", lambda folder: made_runs.DIGITS)
    monkeypatch.setattr(effect_findings, "at_chance", lambda run: None)
    run = Run(None, "", "completed", {}, {}, {"object_effects": table(None).to_dict("records")})
    (found,) = effect_findings._objects(run)
    assert found.text == (
        "The network is not shown to use the nodule: taking it away lowers P(b) in 18 of 19 groups [0.69, 1.00], "
        "median -0.120 [-0.200, -0.100], from -0.300 to +0.020. It changes the log-odds of b by -1.500 [-3.500, "
        "+0.500] (chosen among 4 effects, so at 98.8%; n = 19 groups, 40 images); P(b) changes by -0.100 [-0.200, "
        "-0.050] on average."
    )
