"""The end of a run on the terminal."""

from __future__ import annotations

import pytest

from dovision.jobs.headlines import condition_tables, detection_tables
from dovision.results.finding import HEADLINE_METRICS


def interval(estimate):
    return {"estimate": estimate, "low": estimate / 2, "high": 1.0, "reason": ""}


@pytest.fixture
def conditions():
    nothing = dict.fromkeys(HEADLINE_METRICS)
    clean = nothing | {"accuracy": interval(0.5)}
    return {"clean": clean, "Linf epsilon 8/255": clean | {"success_rate": interval(0.25)}}


def test_numbers_stand_condition_by_metric_and_in_narrower_layouts(conditions):
    wide, turned, stacked = condition_tables(conditions)
    assert wide.heads == ["condition", "accuracy", "attack success"]
    assert wide.rows[0] == ["clean", "0.500 [0.250, 1.000]", "-"]
    assert turned.rows[1] == ["attack success", "-", "0.250 [0.125, 1.000]"]
    assert [row[:2] for row in stacked.rows] == [
        ["clean", "accuracy"], ["Linf epsilon 8/255", "accuracy"], ["", "attack success"],
    ]  # fmt: skip


def test_a_size_has_its_median_and_range_in_place_of_an_interval(conditions):
    size = {
        "estimate": 0.013,
        "low": None,
        "high": None,
        "reason": "",
        "median": 0.01,
        "least": 0.00004,
        "most": 0.0232,
    }
    conditions["clean"] |= {"mean_abs_expected_effect": size}
    assert condition_tables(conditions)[0].rows[0][-1] == "0.0130 (median 0.0100, 0.000040 to 0.0232)"


def detected(detector, variant, attack, eps, auroc, attacker="not adaptive", family="", fitted_on=""):
    row = {"detector": detector, "variant": variant, "fitted_on": fitted_on, "attack": attack, "eps": eps}
    row |= {"family": family}
    ends = {"auroc_low": None, "auroc_high": None, "auroc_reason": "few"}
    return row | {"attacker": attacker, "auroc": auroc} | ends


def test_detectors_have_the_variant_that_figures_show_against_attacks_that_know_nothing_of_them():
    rows = [
        detected("entropy", "as is", "pgd", 8 / 255, 0.5),
        detected("profile", "clean only", "pgd", 8 / 255, 0.6),
        detected("profile", "clean and noise", "pgd", 8 / 255, 0.7),
        detected("profile", "clean and noise", "random_sign", 8 / 255, 0.8),
        detected("profile", "clean and noise", "adaptive", 8 / 255, 0.1, "adaptive"),
        detected("profile", "clean and noise", "worst case", None, 0.65),
    ]
    wide = detection_tables(rows)[0]
    assert wide.heads == ["detector: AUROC", "PGD, epsilon 8/255", "worst case, any epsilon"]
    assert wide.rows == [
        ["entropy", "0.500 [-]", "-"],
        ["profile, clean and noise", "0.700 [-]", "0.650 [-]"],
    ]


def test_families_that_a_detector_has_not_seen_come_first():
    supervised = [
        detected("net", "supervised", "whole family", None, auroc, family=family, fitted_on=fitted_on)
        for family, fitted_on, auroc in (("fgsm", "all but fgsm", 0.7), ("cw", "all but cw", 0.6), ("cw", "cw", 0.9))
    ]
    rows = [
        *(detected("entropy", "as is", "whole family", None, 0.5, family=family) for family in ("fgsm", "cw")),
        *supervised,
        detected("net", "supervised", "worst case", None, 0.4, fitted_on="all attacks"),
    ]
    wide = detection_tables(rows)[0]
    assert wide.heads == ["detector: AUROC", "FGSM", "cw", "worst case, any epsilon"]
    assert wide.rows == [
        ["entropy", "0.500 [-]", "0.500 [-]", "-"],
        ["net, supervised, family unseen", "0.700 [-]", "0.600 [-]", "-"],
        ["net, supervised", "-", "-", "0.400 [-]"],
    ]


@pytest.mark.long
def test_a_run_ends_with_its_numbers_and_the_next_command_and_a_job_of_a_sweep_does_not(
    copy, dovision_evaluate, capsys
):
    root = f"output_root={copy}"
    assert dovision_evaluate(root, "attack=fgsm") == 0
    lines = capsys.readouterr().err.splitlines()
    (run,) = (copy / "evaluate").iterdir()
    assert lines[-1] == f"next: dovision-report sweep={run}"
    heads = [line.split(" ")[0] for line in lines]
    start = heads.index("condition")
    assert heads[start : start + 3] == ["condition", "clean", "Linf"]
    assert lines[start + 3].endswith("fewer than 5 images.")  # why there is a dash
    assert lines[start + 4] == "What the network uses:"
    assert dovision_evaluate(root, "attack=fgsm", "seed=0,1", "-m") == 0
    lines = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("condition") for line in lines)
    cells = [line.split()[:3] for line in lines]
    table = cells.index(["job", "seed", "state"])
    assert cells[table + 1 : table + 3] == [["0", "0", "completed"], ["1", "1", "completed"]]
    assert lines[-1] == f"next: dovision-report sweep={copy / 'evaluate'}"
