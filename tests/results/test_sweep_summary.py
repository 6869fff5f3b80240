"""What is gathered of the jobs of a sweep."""

from pathlib import Path

import pandas as pd
import pytest

from dovision.results import sweep_summary
from dovision.results.run_record import Run
from dovision.results.sweep_summary import ended


def job(number, state="completed", seed=0, rows=2, **metrics):
    record = {"overrides": [f"intervention.rows={rows}", f"seed={seed}"], "wall_seconds": 1.5}
    conditions = {}
    for name, value in metrics.items():
        condition, _, metric = name.rpartition("/")
        conditions.setdefault(condition or "clean", {})[metric] = {"estimate": value}
    summary = {"conditions": conditions, "labels": {}} if metrics else {}
    problem = "" if metrics else "ValueError: no | grid"
    return Run(Path(f"/runs/{number}"), str(number), state, record, {}, summary, problem)


def test_each_job_has_a_row_and_mean_deviation_and_number_are_over_seeds_of_a_setting(tmp_path, write_run):
    jobs = []
    for grid, seed in ((2, 0), (2, 1), (4, 0)):
        folder = tmp_path / str(len(jobs))
        overrides = (f"intervention.rows={grid}", f"intervention.columns={grid}", f"seed={seed}")
        write_run(folder, overrides, eps=(0.2,), grid=grid, images=20, seed=seed, maps=0)
        jobs.append(ended(len(jobs), overrides, folder))
    sweep_summary.write_sweep_summary(tmp_path, [*jobs, job(3, "failed", rows=3)])
    seeds = pd.read_csv(tmp_path / "sweep_seeds.csv")
    assert list(seeds) == ["grid", "epsilon", "metric", "mean", "sd", "seeds", "images"]
    assert set(seeds.loc[seeds["metric"] == "mean_abs_expected_effect", "grid"]) == {"2 x 2"}
    assert set(seeds.loc[seeds["metric"] == "success_rate", "grid"]) == {"any"}  # it cannot change
    assert set(seeds["seeds"]) == {2}
    table = pd.read_csv(tmp_path / "sweep_summary.csv")
    assert " ".join(list(table)[:6]) == "job overrides state seconds reason images"
    assert table["state"].tolist() == ["completed"] * 3 + ["failed"]
    expected = table["clean/mean_abs_expected_effect"][:2]
    row = seeds.set_index(["epsilon", "metric"]).loc[("clean", "mean_abs_expected_effect")]
    assert (row["mean"], row["sd"]) == (pytest.approx(expected.mean()), pytest.approx(expected.std()))


def test_the_closing_lines_name_what_is_not_completed_and_the_command_for_it():
    assert sweep_summary.closing([job(0, accuracy=0.5), job(1, "failed")]).splitlines() == [
        "2 jobs: 1 completed, 1 failed.",
        "  job 1 failed: ValueError: no | grid",
        "    dovision-evaluate intervention.rows=2 seed=0",
    ]


def test_the_reason_is_read_from_the_run_directory(tmp_path):
    states = {}
    for name in ("failed", "interrupted", "killed", "running", "damaged", "missing"):
        run = Run(tmp_path / name)
        if name != "missing":
            run.start({}, [], {})
        if name == "failed":
            run.fail(KeyError("x"))
        if name == "interrupted":
            run.interrupt("stopped by SIGTERM")
        if name == "damaged":
            run.complete({})
            (run.folder / "run.json").write_text("{")
        states[name] = run if name == "running" else None  # the others give up their lock, as at the end of a process
        del run
        found = ended(0, (), tmp_path / name)
        states[name] = (found.state, found.failure)
    assert states["failed"] == ("failed", "KeyError: 'x'")
    assert states["interrupted"] == ("interrupted", "stopped by SIGTERM")
    assert states["killed"] == ("interrupted", "its process was killed, or its machine went down")
    assert states["missing"] == ("missing", "not started")
    assert states["damaged"][0] == "damaged"


def test_a_job_is_slow_beside_others_with_as_many_passes_unless_it_may_have_fitted_the_network():
    def timed(label, seconds, passes=1000, fit="a"):
        record = {"wall_seconds": seconds, "forward_passes": passes, "checkpoints": {"classifier": fit}}
        return Run(Path(label), label, "completed", record | {"started": label}, {}, {"labels": {}})

    jobs = [timed("0", 90.0), *(timed(str(n), 10.0 + n) for n in (1, 2, 3)), timed("4", 41.0), timed("5", 80.0, 9000)]
    assert sweep_summary.slow_jobs(jobs) == {"4": "slow: 3.3 times the median of like jobs"}
    assert sweep_summary.slow_jobs([*jobs[:2], jobs[4], timed("6", 90.0, fit="b")]) == {}
    assert sweep_summary.slow_jobs([]) == sweep_summary.slow_jobs([job(1, "failed")]) == {}
