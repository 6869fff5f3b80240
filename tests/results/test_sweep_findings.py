"""Numbers of jobs, from summaries worked out by hand, by their factors, with seeds pooled and nothing else."""

import itertools
from collections import defaultdict
from dataclasses import replace

import pytest

from dovision.results import sweep_findings as module
from dovision.results.display_names import metric_head
from dovision.results.run_record import Run
from dovision.results.sweep_findings import by_factors, pivots, sweep_findings, sweep_numbers, variance_shares

GRID = [*itertools.product((4, 8), ("FGSM", "PGD"))]
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


def test_settings_of_one_name_or_one_reading_and_jobs_without_a_factor_are_told_apart(runs):
    settings = [{"seed": 0, "evaluation": {"images": images}} for images in (12, 13)]
    frame = by_factors([replace(runs[0], config=runs[0].config | own) for own in settings])
    assert list(frame["evaluation images"]) == ["12", "13"]
    assert set(frame["images"]) == {40}
    """Both are shown as "yes" by themselves."""
    settings = [{"seed": seed, "augmentation": name} for seed, name in enumerate(("True", "yes"))]
    frame = by_factors([replace(runs[0], config=runs[0].config | own) for own in settings])
    assert set(frame["seeds"]) == {1}
    assert set(frame["augmentation"]) == {"True", "yes"}
    twice = [replace(runs[0], label=name) for name in ("first", "second")]
    frame = by_factors(twice)
    assert frame["job"].tolist() == ["first", "second"]
    assert frame["mean"].tolist() == pytest.approx([0.2, 0.2])
    assert set(frame["seeds"]) == {1}


def test_a_table_of_two_ways_has_the_last_factor_across(runs):
    (table,) = pivots(by_factors(runs))
    assert (table.metric, table.factors, table.across) == ("success_rate", ["width", "attack"], "epsilon")
    assert list(table.levels) == ["0.1", "0.2"]
    assert [setting for setting, _ in table.rows] == [*itertools.product("48", ("FGSM", "PGD"))]
    assert table.rows[0][1] == ["0.250 ± 0.071 (n = 2 seeds)", "0.450 ± 0.071 (n = 2 seeds)"]


def test_the_shares_of_the_variance_are_those_of_main_effects_of_factors_together_and_of_seeds(runs):
    """16 jobs: epsilon moves each by .1 from the mean, the seed by .05: .16 and .04 of squares."""
    shares = variance_shares(by_factors(runs))
    assert [*shares] == ["epsilon", "width", "attack", "factors together", "seeds"]
    assert [*shares.values()] == pytest.approx([0.8, 0, 0, 0, 0.2], abs=1e-9)
    assert variance_shares(by_factors(runs[:4])) == pytest.approx({"epsilon": 0.8, "seeds": 0.2})
    crossed = [run(*each, 0.1, 0, success=0.5 + 0.1 * (each in ((4, "FGSM"), (8, "PGD")))) for each in GRID]
    assert variance_shares(by_factors(crossed)) == pytest.approx({"width": 0, "attack": 0, "factors together": 1})
    (table,) = pivots(by_factors(runs))
    assert "variance over the jobs: epsilon 80%, width 0%, attack 0%, factors together 0%, seeds 20%." in table.note


def test_a_table_that_lacks_a_setting_or_has_one_factor_of_one_seed_has_no_shares(runs):
    assert variance_shares(by_factors(runs[:-2])) == {}
    assert variance_shares(by_factors([run(width, "PGD", 0.1, 0, success=width / 10) for width in (4, 8)])) == {}


def test_a_factor_of_many_levels_has_rows_and_so_have_jobs(runs):
    many = [run(width, "PGD", 0.1, 0, success=width / 100) for width in range(2, 11)]
    (table,) = pivots(by_factors(many))
    assert (table.factors, table.across, table.levels) == (["width"], "", ["attack success"])
    assert [setting for setting, _ in table.rows][-1] == ("10",)
    assert [len(cells) for _, cells in table.rows] == [1] * 9
    twice = [replace(one, label=f"{one.label} ({name})") for one in many[:2] for name in "ab"]
    (table,) = pivots(by_factors(twice))
    assert (table.factors, table.across) == (["job"], "width")
    assert texts(twice)[0] == "Attack success is 0.02 to 0.03 over all settings."


def texts(jobs):
    return [one.text for one in sweep_findings(by_factors(jobs))]


def test_sentences_name_the_range_and_the_factor_that_is_shown_to_move_it(runs):
    """Two seeds that differ by .05 do not show a change of .4, by Student's interval; four do."""
    assert texts(runs) == ["Attack success is 0.25 to 0.45 over all settings."]
    levels = [*itertools.product((4, 8), ("FGSM", "PGD"), (0.1, 0.3), range(4))]
    wide = [run(*each, success=2 * each[2] + 0.05 * each[3]) for each in levels]
    assert texts([job for job, each in zip(wide, levels, strict=True) if each[3] < 2])[1:] == []
    (moves,) = texts(wide)[1:]
    assert moves.startswith("Linf epsilon moves attack success: ")
    for each in wide[::2]:
        each.config["attack"]["norm"] = "l2"
    (table,) = pivots(by_factors(runs))
    assert table.across == "epsilon"
    assert table.note.startswith("Epsilon is of the norm Linf. Share of the variance ")


def test_numbers_of_one_seed_without_an_interval_show_nothing():
    jobs = [run(width, "PGD", 0.1, 0, success=width / 10) for width in (4, 8)]
    for each in jobs:
        each.summary["conditions"]["eps=0.1"]["success_rate"] |= {"low": None, "high": None, "reason": "few groups"}
    assert texts(jobs) == ["Attack success is 0.40 to 0.80 over all settings."]


@pytest.mark.parametrize(
    ("success", "text"),
    [
        ((0.5, 0.4, 0.5, 0.9), []),  # in one pair down, in the other up
        ((0.5, 0.505, 0.4, 0.41), ["Attack: attack success is higher with FGSM than with PGD, 0.50 against 0.41."]),
        ((0.5, 0.6, 0.505, 0.605), ["Width moves attack success: 0.50 at its lowest, 0.60 at its highest."]),
    ],
)
def test_a_factor_has_a_sentence_if_all_pairs_agree_and_one_is_apart(success, text):
    levels = itertools.product(("FGSM", "PGD"), (4, 8))
    jobs = [run(width, attack, 0.1, 0, one) for (attack, width), one in zip(levels, success, strict=True)]
    assert texts(jobs)[1:] == text


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
    tables = {table.metric: table for table in pivots(frame)}
    assert (tables["success_rate"].factors, tables["success_rate"].across) == (["attack"], "epsilon")
    of_clean = [setting for setting, _ in tables["mean_abs_expected_effect"].rows if "any" in setting]
    assert of_clean == [("4 x 4", "any"), ("8 x 8", "any")]
    assert [one.text for one in sweep_findings(frame)] == [
        "Attack success is 0.10 to 0.40 over all settings.",
        "Attack: attack success is higher with PGD than with FGSM, 0.30 against 0.15.",
        "Linf epsilon moves attack success: 0.15 at its lowest, 0.30 at its highest.",
    ]


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
    names = ("worst_case_auroc/feature_squeezing", "worst_case_auroc/effect_consistency", "accuracy")
    assert found == [*zip(names, (0.8, 0.7, 0.9), strict=True)]


@pytest.mark.parametrize("least", [0.3, 0.7])
def test_a_sweep_of_maps_is_stated_by_their_scores(least):
    jobs = [job(fill, [score("effect_map", mean)]) for fill, mean in (("Mean", least), ("Blur", 0.8))]
    first, *others = texts(jobs)
    assert first == f"Energy inside of effect map is {least:.2f} to 0.80 over all settings."
    assert len(others) == (least == 0.3)  # at 0.7 the intervals overlap
    assert [table.metric for table in pivots(by_factors(jobs))] == ["energy/effect_map"]
    without = [replace(each, summary=each.summary | {"maps": []}) for each in jobs]
    assert pivots(by_factors(without)) == []
