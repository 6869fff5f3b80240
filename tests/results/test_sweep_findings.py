"""Numbers of jobs, from summaries worked out by hand, by their factors, with seeds pooled and nothing else."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace

import pytest

from dovision.results import sweep_findings as module
from dovision.results.display_names import MEAN_EFFECT, WORST_AUROC, metric_head
from dovision.results.finding import HEADLINE_METRICS
from dovision.results.map_findings import PRIMARY
from dovision.results.run_record import Run
from dovision.results.sweep_findings import MOVED_BY, by_factors, can_move, pivots, sweep_numbers, sweep_sentences

CLEAN_NUMBERS = dict.fromkeys(("success_rate", "robust_accuracy", "mean_abs_expected_effect", "auroc", "success_8bit"))
CLEAN_NUMBERS |= {"accuracy": {"estimate": 0.9, "low": 0.8, "high": 1.0}, "images": 40}


@pytest.fixture(autouse=True)
def without_samples(monkeypatch):
    """These runs have no tables: each number is of all images of its condition."""
    monkeypatch.setattr(module, "counted_images", lambda run: defaultdict(dict))


def run(width, attack, eps, seed, success):
    kind = {"_target_": f"dovision.attacks.gradient_ascent.{attack}", "eps": [eps], "norm": "linf"}
    network = {"_target_": "dovision.models.small_cnn.small_cnn", "width": width}
    names = ("accuracy", "success_8bit", "robust_accuracy", "mean_abs_expected_effect", "auroc")
    nothing = dict.fromkeys(names) | {"images": 40}
    number = {"estimate": success, "low": success - 0.01, "high": success + 0.01, "reason": ""}
    conditions = {"clean": nothing | {"success_rate": None}, f"eps={eps}": nothing | {"success_rate": number}}
    overrides = (f"model.width={width}", f"attack={attack.lower()}", f"attack.eps={eps}", f"seed={seed}")
    config = {"seed": seed, "attack": kind, "model": network}
    return Run(None, "", "completed", {"overrides": overrides}, config, {"conditions": conditions})


@pytest.fixture
def runs():
    """Two networks, two attacks, two epsilons, two seeds; success grows with epsilon alone, and by .1 with the seed."""
    levels = itertools.product((4, 8), ("FGSM", "PGD"), (0.1, 0.2), (0, 1))
    return [run(*each, success=2 * each[2] + 0.1 * each[3]) for each in levels]


def test_seeds_are_pooled_with_their_number_and_spread_and_nothing_else(runs):
    frame = by_factors(runs)
    assert list(frame)[:4] == ["width", "attack", "epsilon", "metric"]
    assert len(frame) == 8
    assert set(frame["seeds"]) == {2}
    assert frame["mean"].tolist() == pytest.approx([0.25, 0.45] * 4)
    assert frame["sd"].tolist() == pytest.approx([0.1 / 2**0.5] * 8)
    assert frame["low"].isna().all()


def test_a_factor_whose_name_is_that_of_a_number_has_its_key(runs):
    settings = [{"seed": 0, "evaluation": {"images": images}} for images in (12, 13)]
    frame = by_factors([replace(runs[0], config=runs[0].config | own) for own in settings])
    assert list(frame["evaluation images"]) == ["12", "13"]
    assert set(frame["images"]) == {40}


def test_values_that_read_alike_are_not_pooled(runs):
    """Both are shown as "yes" by themselves."""
    settings = [{"seed": seed, "augmentation": name} for seed, name in enumerate(("True", "yes"))]
    frame = by_factors([replace(runs[0], config=runs[0].config | own) for own in settings])
    assert set(frame["seeds"]) == {1}
    assert set(frame["augmentation"]) == {"True", "yes"}


def test_jobs_of_one_seed_that_differ_in_no_factor_stand_by_themselves(runs):
    twice = [replace(runs[0], label=name) for name in ("first", "second")]
    frame = by_factors(twice)
    assert frame["job"].tolist() == ["first", "second"]
    assert frame["mean"].tolist() == pytest.approx([0.2, 0.2])
    assert set(frame["seeds"]) == {1}


def test_a_table_of_two_ways_has_the_last_factor_across(runs):
    (table,) = pivots(by_factors(runs))
    assert (table.metric, table.factors, table.across) == ("success_rate", ["width", "attack"], "epsilon")
    assert list(table.levels) == ["0.1", "0.2"]
    assert [setting for setting, _ in table.rows] == [
        ("4", "FGSM"), ("4", "PGD"), ("8", "FGSM"), ("8", "PGD"),
    ]  # fmt: skip
    assert table.rows[0][1] == ["0.250 ± 0.071 (n = 2 seeds)", "0.450 ± 0.071 (n = 2 seeds)"]


def test_of_too_many_settings_a_table_has_means_over_all_but_two_factors(runs, monkeypatch):
    monkeypatch.setattr(module, "_DOWN", 3)
    levels = itertools.product((4, 8), ("FGSM", "PGD"), (0.1, 0.2))
    many = [run(*each, seed=0, success=2 * each[2] + 0.1 * (each[0] == 8)) for each in levels]
    (table,) = pivots(by_factors(many))
    assert (table.factors, table.across, table.pooled) == (["width"], "epsilon", ["attack"])
    assert table.rows[1] == (("8",), ["0.300 [0.300 to 0.300 in 2]", "0.500 [0.500 to 0.500 in 2]"])
    assert [text.share for _, texts in table.rows for text in texts] == pytest.approx([0, 2 / 3, 1 / 3, 1])
    assert "the mean over the settings of attack; in brackets: the least to the most" in table.note


def test_a_factor_of_many_levels_has_rows_and_so_have_jobs(runs):
    many = [run(width, "PGD", 0.1, 0, success=width / 100) for width in range(2, 11)]
    (table,) = pivots(by_factors(many))
    assert (table.factors, table.across, table.levels) == (["width"], "", ["attack success"])
    assert [setting for setting, _ in table.rows][-1] == ("10",)
    assert [len(cells) for _, cells in table.rows] == [1] * 9
    twice = [replace(one, label=f"{one.label} ({name})") for one in many[:2] for name in "ab"]
    (table,) = pivots(by_factors(twice))
    assert (table.factors, table.across) == (["job"], "width")
    assert "ranges from 0.020 [0.010, 0.030] (job  (a)) to 0.030" in sweep_sentences(by_factors(twice))[0]


def test_epsilons_have_their_norm_in_sentences_and_tables(runs):
    (table,) = pivots(by_factors(runs))
    assert (table.across, table.note) == ("epsilon", "Epsilon is of the norm Linf.")
    assert "attack FGSM, Linf epsilon 0.2)" in sweep_sentences(by_factors(runs))[0]
    for each in runs[::2]:
        each.config["attack"]["norm"] = "l2"
    assert "norm L-infinity, L2 or Linf epsilon 0.2)" in sweep_sentences(by_factors(runs))[0]


def test_sentences_name_the_range_and_count_pairs_that_are_alike_in_all_else(runs):
    first, *others = sweep_sentences(by_factors(runs))
    assert first.startswith("Of 8 settings, attack success ranges from 0.250 ± 0.071 (width 4, attack FGSM")
    assert first.endswith("; ± standard deviation over 2 seeds; n = 40 images.")
    assert others[-1] == (
        "The estimate of attack success is higher with Linf epsilon 0.2 than with Linf epsilon 0.1 by 0.200 on "
        "average, and higher in 4 of 4 pairs of settings alike in all else."
    )
    assert "is the same with width 4 and with width 8 in all 4 pairs" in others[0]


def test_a_number_that_is_the_same_everywhere_has_no_range(runs):
    for each in runs:
        for condition in each.summary["conditions"].values():
            if condition["success_rate"] is not None:
                condition["success_rate"] = {"estimate": 1.0, "low": 0.9, "high": 1.0, "reason": ""}
    (first, *_) = sweep_sentences(by_factors(runs))
    assert first.startswith("In all 8 settings, attack success is 1.000 ± 0.000; ± standard deviation over 2 seeds; n")


def test_a_level_that_is_above_on_average_alone_is_said_to_be_so(runs):
    large = [run(width, attack, 0.1, 0, success) for width, attack, success in (
        (4, "FGSM", 0.5), (8, "FGSM", 0.4), (4, "PGD", 0.5), (8, "PGD", 0.9),
    )]  # fmt: skip
    assert (
        "higher with width 8 than with width 4 by 0.150 on average, and higher in 1 of 2 pairs"
        in (sweep_sentences(by_factors(large))[1])
    )


def grid(rows, attack, eps, success, effect):
    """A job of which the grid changes the mean effect, and the attack nothing on clean images."""
    one = run(4, attack, eps, 0, success)
    part = {"_target_": "dovision.interventions.pixel_grid.PixelGrid", "rows": rows, "columns": rows}
    of_clean, of_attacked = ({"estimate": size, "low": size / 2, "high": 1.0, "reason": ""} for size in effect)
    one.summary["conditions"]["clean"]["mean_abs_expected_effect"] = of_clean
    one.summary["conditions"][f"eps={eps}"]["mean_abs_expected_effect"] = of_attacked
    overrides = (f"intervention.rows={rows}", f"attack={attack.lower()}", f"attack.eps={eps}")
    return replace(one, record={"overrides": overrides}, config=one.config | {"intervention": part})


def test_attack_success_is_not_cut_by_the_grid_and_clean_images_count_once():
    jobs = [
        grid(rows, attack, eps, success=eps * (1 + (attack == "PGD")), effect=(1 / rows, 2 / rows))
        for rows, attack, eps in itertools.product((4, 8), ("FGSM", "PGD"), (0.1, 0.2))
    ]
    frame = by_factors(jobs)
    assert frame["metric"].value_counts().to_dict() == {"success_rate": 4, "mean_abs_expected_effect": 10}
    success, effect = (
        next(table for table in pivots(frame) if table.metric == name) for name in frame["metric"].unique()[::-1]
    )
    assert (success.factors, success.across) == (["attack"], "epsilon")
    assert [setting for setting, _ in effect.rows if "any" in setting] == [
        ("4 x 4", "any"),
        ("8 x 8", "any"),
    ]  # clean images
    first, of_grid, of_attack, of_epsilon = sweep_sentences(frame)
    assert first.startswith(
        "Of 4 settings, attack success ranges from 0.100 [0.090, 0.110] (attack FGSM, Linf epsilon 0.1)"
    )
    assert (
        "effect| is higher with grid 4 x 4 than with grid 8 x 8 by 0.2250 on average, and higher in 5 of 5" in of_grid
    )
    assert "attack success is higher with attack PGD" in of_attack
    assert "in 2 of 2 pairs" in of_attack
    assert "attack success is higher with Linf epsilon 0.2" in of_epsilon
    assert "in 2 of 2 pairs" in of_epsilon


def score(explainer, mean, metric="energy", cases="all"):
    known = {"explainer": explainer, "metric": metric, "cases": cases, "mean": mean, "scored": 24}
    return known | {"low": mean - 0.1, "high": mean + 0.1}


def detected(detector, auroc, attack="worst case", **more):
    known = {"detector": detector, "variant": "as is", "fitted_on": "", "attack": attack, "attacker": "not adaptive"}
    return known | {"auroc": auroc, "auroc_low": auroc - 0.1, "auroc_high": auroc + 0.1, "successful": 30} | more


def job(fill, maps=(), detection=()):
    config = {"explanation": {"fill": {"_target_": f"dovision.interventions.fills.{fill}"}}}
    summary = {"conditions": {"clean": CLEAN_NUMBERS}, "maps": list(maps), "detection": list(detection)}
    return Run(None, fill, "completed", {"overrides": [f"fill@explanation.fill={fill.lower()}"]}, config, summary)


def test_maps_come_first_by_their_first_metric_and_effect_maps_before_others():
    maps = [score("grad_cam", 0.4), score("effect_map", 0.6), score("effect_map", 0.5, "insertion")]
    found = list(sweep_numbers(job("Mean", [*maps, score("effect_map", 0.9, cases="correct")])))
    assert [each["metric"] for each in found] == ["energy/effect_map", "energy/grad_cam", "accuracy"]
    assert [found[0][name] for name in ("condition", "mean", "low", "images")] == ["clean", 0.6, 0.5, 24]
    assert metric_head("energy/grad_cam") == "energy inside of Grad-CAM"


def test_a_detector_has_its_worst_case():
    rows = [detected("feature_squeezing", 0.9), detected("feature_squeezing", 0.8), detected("effect_consistency", 0.7)]
    rows += [detected("effect_consistency", 0.1, attack="whole family"), detected("margin", 0.2, attacker="adaptive")]
    found = [(each["metric"], each["mean"]) for each in sweep_numbers(job("Mean", detection=rows))]
    assert found == [
        ("worst_case_auroc/feature_squeezing", 0.8),
        ("worst_case_auroc/effect_consistency", 0.7),
        ("accuracy", 0.9),
    ]


@pytest.mark.parametrize("least", [0.3, 0.7])
def test_a_sweep_of_maps_is_stated_by_their_scores(least):
    jobs = [job(fill, [score("effect_map", mean)]) for fill, mean in (("Mean", least), ("Blur", 0.8))]
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
