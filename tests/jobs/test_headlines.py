"""The end of a run on the terminal."""

from __future__ import annotations

import pytest

from dovision.jobs.closing import condition_table
from dovision.results.finding import HEADLINE_METRICS


def interval(estimate):
    return {"estimate": estimate, "low": estimate / 2, "high": 1.0, "reason": ""}


@pytest.fixture
def conditions():
    nothing = dict.fromkeys(HEADLINE_METRICS)
    clean = nothing | {"accuracy": interval(0.5)}
    return {"clean": clean, "Linf epsilon 8/255": clean | {"success_rate": interval(0.25)}}


def test_numbers_stand_metric_by_condition(conditions):
    table = condition_table(conditions)
    assert table.heads == ["condition", "clean", "Linf epsilon 8/255"]
    assert table.rows == [
        ["accuracy", "0.500 [0.250, 1.000]", "0.500 [0.250, 1.000]"],
        ["attack success", "-", "0.250 [0.125, 1.000]"],
    ]


def test_a_size_has_its_median_and_range_in_place_of_an_interval(conditions):
    size = {"estimate": 0.013, "low": None, "high": None, "reason": ""}
    size |= {"median": 0.01, "least": 0.00004, "most": 0.0232}
    conditions["clean"] |= {"mean_abs_expected_effect": size}
    assert condition_table(conditions).rows[-1][1] == "0.0130 (median 0.0100, 0.000040 to 0.0232)"


@pytest.mark.long
def test_a_run_ends_with_its_numbers_and_the_next_command_and_a_job_of_a_sweep_does_not(
    copy, dovision_evaluate, capsys
):
    root = f"output_root={copy}"
    assert dovision_evaluate(root, "attack=fgsm") == 0
    lines = capsys.readouterr().err.splitlines()
    (run,) = (copy / "evaluate").iterdir()
    assert lines[-1] == f"next: dovision-report sweep={run}"
    (start,) = (number for number, line in enumerate(lines) if line.startswith("condition"))
    assert lines[start].split() == ["condition", "clean", "Linf", "epsilon", "8/255"]
    end = lines.index("What does it use?")
    assert all("clean" not in line for line in lines[start + 1 : end])
    assert lines[end - 1].endswith("fewer than 5 images.")  # why there is a dash
    assert dovision_evaluate(root, "attack=fgsm", "seed=0,1", "-m") == 0
    lines = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("condition") for line in lines)
    cells = [line.split()[:3] for line in lines]
    table = cells.index(["job", "seed", "state"])
    assert cells[table + 1 : table + 3] == [["0", "0", "completed"], ["1", "1", "completed"]]
    assert lines[-1] == f"next: dovision-report sweep={copy / 'evaluate'}"
