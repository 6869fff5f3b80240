"""The end of a sweep on the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dovision.jobs.closing import closing_table, headline_numbers, next_command
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


def test_settings_of_the_same_display_name_have_their_dotted_names():
    jobs = [job(n, f"model.optimizer.lr={n}", f"training.optimizer.lr={n % 2}") for n in (1, 2, 3)]
    assert closing_table(jobs).heads[1:3] == ["model.optimizer.lr", "training.optimizer.lr"]


def test_a_setting_that_only_some_jobs_have_is_swept():
    table = closing_table([job(0, "seed=1"), job(1, "seed=1", "+attack@detection.attacks.pgd=pgd")])
    assert table.heads[:2] == ["job", "pgd"]
    assert [row[1] for row in table.rows] == ["none", "PGD"]


def test_metrics_that_no_job_has_have_no_column():
    assert closing_table([job(0, metrics={})]).heads == ["job", "state", "seconds"]
    assert headline_numbers({"eps=1/255/accuracy": 0.5}) == {}


def test_the_next_command_can_be_typed_where_the_user_stands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert next_command(tmp_path / "outputs" / "demo") == "next: dovision-report sweep=outputs/demo"
    assert next_command(Path("/else where")) == "next: dovision-report 'sweep=/else where'"
