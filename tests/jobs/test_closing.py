"""The end of a sweep on the terminal."""

from dataclasses import replace
from pathlib import Path

import pytest

from dovision.jobs.closing import closing_table, condition_table, headline_numbers, next_command
from dovision.results.finding import HEADLINE_METRICS
from dovision.results.run_record import Run

METRICS = {
    "clean": {"accuracy": 0.9, "mean_abs_expected_effect": 0.0123},
    "eps=1/255": {"accuracy": 0.5, "success_rate": 0.25},
    "eps=8/255": {"success_rate": 0.75},
}


def job(number, *overrides, state="completed", metrics=METRICS, config=None):
    conditions = {
        condition: {name: {"estimate": value} for name, value in numbers.items()}
        for condition, numbers in metrics.items()
    }
    record, problem = {"overrides": overrides, "wall_seconds": 12.34}, "" if state == "completed" else "ValueError: no"
    return Run(Path("somewhere"), str(number), state, record, config or {}, {"conditions": conditions}, problem)


def test_a_row_has_what_is_swept_state_seconds_and_headline_numbers():
    jobs = [job(0, "dataset=digits", "attack=pgd"), job(1, "dataset=digits", "attack=none", state="failed", metrics={})]
    table = closing_table(jobs)
    assert table.heads == ["job", "attack", "state", "seconds", "accuracy", "mean |expected effect|", "attack success"]
    assert table.rows == [
        ["0", "PGD", "completed", "12.3", "0.900", "0.0123", "0.750"],
        ["1", "none", "failed", "12.3", "-", "-", "-"],
    ]


def test_heads_and_levels_are_those_of_the_page_and_what_is_always_equal_has_one_column():
    grid = ("attack.eps=8/255", "intervention.rows=4", "intervention.columns=4", "intervention/fill=blur", "seed=1")
    other = ("attack.eps=16/255", "intervention.rows=7", "intervention.columns=7", "intervention/fill=mean", "seed=0")
    table = closing_table([job(0, *grid), job(1, *other), job(2, *other, "training.classifier.epochs=3")])
    assert table.heads[:7] == ["job", "epsilon", "grid", "fill", "epochs", "seed", "state"]
    assert table.rows[1][:6] == ["1", "16/255", "7 x 7", "mean", "none", "0"]


@pytest.mark.parametrize("columns", [(7, 7, 7), (2, 4, 8)])  # of the configuration, and ${intervention.rows}
def test_levels_are_those_of_the_configurations_also_of_jobs_that_have_not_started(columns):
    grid, jobs = {"_target_": "dovision.interventions.pixel_grid.PixelGrid"}, []
    for number, width in enumerate(columns):
        config = {"intervention": grid | {"rows": 2 ** (number + 1), "columns": width}}
        jobs.append(job(number, f"intervention.rows={2 ** (number + 1)}", config=config))
    jobs[2] = replace(jobs[2], state="missing", summary={})
    table = closing_table(jobs)
    assert table.heads[1:3] == ["grid", "state"]
    assert [row[1] for row in table.rows] == [f"2 x {columns[0]}", f"4 x {columns[1]}", f"8 x {columns[2]}"]


def test_settings_of_some_jobs_or_of_one_display_name_are_told_apart_and_metrics_of_none_left_out():
    jobs = [job(n, f"model.optimizer.lr={n}", f"training.optimizer.lr={n % 2}") for n in (1, 2, 3)]
    assert closing_table(jobs).heads[1:3] == ["model.optimizer.lr", "training.optimizer.lr"]
    table = closing_table([job(0, "seed=1"), job(1, "seed=1", "+attack@detection.attacks.pgd=pgd")])
    assert table.heads[:2] == ["job", "pgd"]
    assert [row[1] for row in table.rows] == ["none", "PGD"]
    assert closing_table([job(0, metrics={})]).heads == ["job", "state", "seconds"]
    assert headline_numbers({"eps=1/255/accuracy": 0.5}) == {}


def test_the_next_command_can_be_typed_where_the_user_stands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert next_command(tmp_path / "outputs" / "demo") == "next: dovision-report sweep=outputs/demo"
    assert next_command(Path("/else where")) == "next: dovision-report 'sweep=/else where'"


def interval(estimate):
    return {"estimate": estimate, "low": estimate / 2, "high": 1.0, "reason": ""}


def test_numbers_stand_metric_by_condition_and_a_size_has_its_median_and_range():
    nothing = dict.fromkeys(HEADLINE_METRICS)
    clean = nothing | {"accuracy": interval(0.5)}
    conditions = {"clean": clean, "Linf epsilon 8/255": clean | {"success_rate": interval(0.25)}}
    table = condition_table(conditions)
    assert table.heads == ["condition", "clean", "Linf epsilon 8/255"]
    assert table.rows == [
        ["accuracy", "0.500 [0.250, 1.000]", "0.500 [0.250, 1.000]"],
        ["attack success", "-", "0.250 [0.125, 1.000]"],
    ]
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
