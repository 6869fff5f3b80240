"""An array of tasks that claim the jobs of a sweep."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from dovision.cli import array_task
from dovision.io import locking
from dovision.store.run_directory import RunDirectory
from dovision.sweeps import slurm_array
from dovision.sweeps.jobs import Job


def job(sweep, number):
    return Job(number, (f"seed={number}",), sweep / str(number))


def claimed(sweep, task):
    """Numbers of the jobs that a task claims."""
    return (int(arguments[0].removeprefix("seed=")) for _, arguments in slurm_array.claims(sweep, task))


@pytest.fixture
def sweep(tmp_path):
    """A sweep's folder with a script for four jobs, of which the last one had failed."""
    failed = RunDirectory(tmp_path / "3")
    failed.start({}, [], {"started": "yesterday"})
    failed.fail(ValueError("no reason"))
    slurm_array.write_script(tmp_path, [job(tmp_path, number) for number in range(4)], 3, {})
    return tmp_path


def complete(sweep, number):
    run = RunDirectory(sweep / str(number))
    run.start({}, [], {"started": "today"})
    run.complete({})


def test_the_script_is_one_of_sbatch_and_of_sh(sweep, monkeypatch):
    monkeypatch.setattr(slurm_array.sys, "executable", "echo")
    options = {"time": "1:00:00", "requeue": None}
    script = slurm_array.write_script(sweep, [job(sweep, 0)], 64, options, ("--config-dir", "mine"))
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert {"#SBATCH --array=0-0", "#SBATCH --time=1:00:00", "#SBATCH --requeue"} < set(lines)
    printed = subprocess.run(["sh", script], capture_output=True, text=True, env={"SLURM_ARRAY_TASK_ID": "7"}).stdout
    assert printed == f"-m dovision.cli.array_task {sweep} 7\n"
    ((run, arguments),) = slurm_array.claims(sweep, 7)
    assert run == sweep / "0"
    single = ["hydra.mode=RUN", "hydra.sweeper.params=null", f"hydra.run.dir='{sweep / '0'}'"]
    assert arguments == ["--config-dir", "mine", "seed=0", *single]


def test_tasks_begin_at_different_jobs_and_take_all_that_are_left(sweep):
    for task in range(4):
        assert next(claimed(sweep, task)) == task
    done = []
    for number in claimed(sweep, 2):
        complete(sweep, number)
        done.append(number)
    assert done == [2, 3, 0, 1]
    assert list(claimed(sweep, 0)) == []


def test_a_job_that_failed_since_is_left_and_one_of_a_task_that_died_is_taken(sweep):
    complete(sweep, 1)
    failed, died = RunDirectory(sweep / "0"), RunDirectory(sweep / "2")
    failed.start({}, [], {"started": "today"})
    failed.fail(ValueError("no reason"))
    died.start({}, [], {"started": "today"})
    died.close()
    assert list(claimed(sweep, 0)) == [2, 3]  # once each, although this task completes none of them


def test_a_task_leaves_jobs_that_others_run_after_the_time_of_a_lease(sweep, monkeypatch):
    monkeypatch.setattr(locking, "LEASE", 0.2)
    monkeypatch.setattr(locking, "HEARTBEAT", 0.1)
    monkeypatch.setattr(slurm_array, "LOOK", 0.05)
    at_work = RunDirectory(sweep / "0")
    at_work.start({}, [], {"started": "today"})
    for number in (1, 2, 3):
        complete(sweep, number)
    assert list(claimed(sweep, 0)) == []
    at_work.close()
    assert list(claimed(sweep, 0)) == [0]


@pytest.mark.parametrize("lost", [False, True])
def test_a_task_goes_on_after_a_job_that_fails_and_fails_itself(sweep, monkeypatch, run_command, lost):
    """But not for a job that another task has claimed in the meantime."""
    codes, other = iter([0, 1, 0, 0, 0]), RunDirectory(sweep / "1")

    def run():
        code = next(codes)
        if code and lost:
            other.start({}, [], {"started": "today"})
        elif lost:
            other.close()
        sys.exit(code)

    monkeypatch.setattr(array_task.evaluate, "main", run)
    monkeypatch.setattr(locking, "LEASE", 0.1)
    monkeypatch.setattr(locking, "HEARTBEAT", 0.1)
    monkeypatch.setattr(slurm_array, "LOOK", 0.05)
    assert run_command(array_task.main, str(sweep), "0") == int(not lost)


@pytest.mark.slow
def test_the_command_writes_the_script_and_its_tasks_complete_and_merge(copy, dovision_evaluate, run_command, capsys):
    command = (f"output_root={copy}", "evaluation.batch_size=6", "evaluation.shards=2", "evaluation.shard=0,1", "-m")
    command += ("hydra/launcher=slurm_array", "threads=1")
    assert dovision_evaluate(*command) == 0
    printed = capsys.readouterr()
    assert "2 jobs are left" in printed.err
    assert "2 missing" in printed.err
    assert run_command(array_task.main, str(copy / "evaluate"), "1") == 0
    states = {path.parent.name[12:]: RunDirectory(path.parent).state for path in copy.glob("evaluate/*/run.json")}
    assert states == {"": "completed", "-0-of-2": "completed", "-1-of-2": "completed"}
    assert dovision_evaluate(*command) == 0
    assert "all 2 jobs are completed already" in capsys.readouterr().err
    shutil.rmtree(next(path.parent for path in copy.glob("evaluate/*/run.json") if len(path.parent.name) == 12))
    assert dovision_evaluate(*command) == 0  # which merges
    assert "3 jobs: 3 completed" in capsys.readouterr().err


def test_a_sweeper_that_chooses_jobs_as_it_goes_is_refused(tmp_path, dovision_evaluate, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra optuna")
    overrides = (
        "hydra/sweeper=optuna",
        "hydra/launcher=slurm_array",
        "optimized_metric=accuracy/clean",
        "seed=0,1",
        "-m",
    )
    assert dovision_evaluate(f"output_root={tmp_path}", *overrides) == 1
    assert "hydra/launcher=slurm_array needs Hydra's basic sweeper" in capsys.readouterr().err
