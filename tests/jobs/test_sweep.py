"""A sweep survives what happens to its jobs, says so truthfully, and the same command completes it."""

import os
import re
import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path

import cloudpickle
import pandas as pd
import pytest

from dovision.jobs.evaluate import evaluate_effects
from dovision.jobs.hydra_main import JobTask
from dovision.jobs.start import SweepStart
from dovision.results.run_record import Run, read_sweep

THREE = ("intervention.rows=1,2,3", "-m")


def fail(error):
    def happen():
        raise error

    return happen


@pytest.mark.parametrize(
    ("happen", "reason", "batches"),
    [
        (fail(MemoryError("of 3 TB")), "MemoryError: of 3 TB", ("hydra.sweeper.max_batch_size=1",)),
        pytest.param(lambda: sys.exit(3), "SystemExit: 3", (), marks=pytest.mark.long),
    ],
    ids=["out of memory, max_batch_size", "sys.exit"],
)
def test_a_failing_job_neither_hides_nor_stops_the_others(
    small, assert_undisturbed, in_batch, capsys, happen, reason, batches, states
):
    in_batch(4, happen)  # the second of the second job
    assert small(*THREE, *batches) == 1
    assert states(small.root) == {1: "completed", 2: "failed", 3: "completed"}
    said = capsys.readouterr().err
    assert f"job 1 failed: {reason}" in said
    assert "sweep: 2/3 jobs, 1 failed in " in said
    (failed,) = (run for run in read_sweep(small.root) if run.state == "failed")
    assert "Traceback" in failed.record["exception"]["traceback"]
    assert reason.partition(": ")[2] in (failed.folder / "run.log").read_text()
    assert small(*THREE) == 0
    assert_undisturbed(small.root)


def test_a_sweep_whose_summary_cannot_be_written_says_so_in_a_sentence(small, monkeypatch, capsys):
    monkeypatch.setattr("dovision.results.sweep_summary.write_sweep_summary", lambda *_: fail(OSError("no space"))())
    assert small("intervention.rows=1", "-m") == 1
    said = capsys.readouterr().err
    assert "1 jobs: 1 completed." in said
    assert "the summary of the sweep could not be written: no space" in said
    assert "Traceback" not in said


def test_a_completed_sweep_whose_folder_is_read_only_is_shown(small, monkeypatch, capsys):
    assert small("intervention.rows=1", "-m") == 0
    refuse = fail(PermissionError("read-only"))
    for place in ("results.sweep_summary.replacing", "jobs.sweep.make_folder"):
        monkeypatch.setattr(f"dovision.{place}", lambda *_, **__: refuse())
    capsys.readouterr()
    assert small("intervention.rows=1", "-m") == 0
    assert "1 jobs: 1 completed." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("signum", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_sweep_and_the_same_command_goes_on_where_it_was(
    small, assert_undisturbed, in_batch, capfd, signum, code, states
):
    in_batch(4, lambda: os.kill(os.getpid(), signum))
    assert small(*THREE) == code
    assert states(small.root) == {1: "completed", 2: "interrupted"}
    said = capfd.readouterr().err
    assert said.count(f"interrupted: stopped by {signal.Signals(signum).name}; the same command resumes") == 1
    assert f"job 1 interrupted: stopped by {signal.Signals(signum).name}" in said
    assert re.search(r"^2 +3 x 2 +missing", said, re.MULTILINE)
    assert "job 2 missing: not started" in said
    (chunks,) = small.root.glob("*/chunks/effects/0-of-1")
    assert max(int(path.stem) for path in chunks.glob("[0-9]*.json")) == 4
    measured = []
    in_batch(0, lambda: measured.append(max(int(path.stem) for path in chunks.glob("[0-9]*.json"))))
    assert small(*THREE) == 0
    assert measured == [4]
    assert_undisturbed(small.root)


def test_a_sweep_may_stand_in_a_folder_of_any_name(small, copy, monkeypatch):
    folder = copy / "it's, a=b [c] {d}"
    folder.mkdir()
    os.symlink(copy / "checkpoints", folder / "checkpoints")
    monkeypatch.chdir(folder)
    assert small("intervention.rows=1,2", "output_root=.", "-m") == 0
    assert [run.state for run in read_sweep(folder / "evaluate")] == ["completed"] * 2


def test_the_sweep_is_gathered_and_failed_jobs_can_be_run_as_printed(small, dovision_evaluate, in_batch, capsys):
    in_batch(0, fail(RuntimeError("no")))
    assert small("intervention.rows=1,2", "-m") == 1
    table = pd.read_csv(small.root / "sweep_summary.csv")
    assert table["state"].tolist() == ["failed", "completed"]
    assert table["clean/accuracy"].notna().tolist() == [False, True]
    lines = capsys.readouterr().err.splitlines()
    (command,) = (line for line in lines if line.startswith("    dovision-evaluate "))
    assert dovision_evaluate(*shlex.split(command)[1:]) == 0
    assert [Run(Path(folder)).look().state for folder in table["dir"]] == ["completed"] * 2


def test_a_job_alone_equals_the_same_job_in_a_sweep(small, undisturbed):
    assert small("intervention.rows=3") == 0
    (alone,) = read_sweep(small.root)
    for table in ("samples.parquet", "effects.parquet", "summary.json"):
        assert (alone.folder / table).read_bytes() == (undisturbed / alone.folder.name / table).read_bytes()


def test_the_task_and_the_callback_can_be_sent_to_a_worker(monkeypatch):
    task, start = JobTask("evaluate", evaluate_effects), SweepStart("evaluate")
    monkeypatch.setattr(start.command, "sweep", threading.Lock())  # of this process alone
    sent, _ = cloudpickle.loads(cloudpickle.dumps((task, start)))
    assert sent.story is evaluate_effects


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.devices=2", "trainer.devices must be 1 in a sweep, got 2"),
        ("seed=0,0", "a sweep must name each value once, got seed=0, seed=0."),
        ("hydra/launcher=joblib", "pip install hydra-joblib-launcher"),
        ("hydra.sweeper._target_=mine.Adaptive", "hydra/sweeper must be Hydra's basic one, got Adaptive"),
    ],
)
def test_what_no_sweep_can_have_here_is_refused_before_it_starts(small, capsys, monkeypatch, word, message):
    monkeypatch.setattr("dovision.jobs.start.find_spec", lambda name: None)
    assert small(*THREE, word) == 1
    assert message in capsys.readouterr().err
    assert not small.root.exists()


@pytest.fixture
def theirs(undisturbed):
    """The run directory of the job of two rows, as another launch completes it."""
    (run,) = (run for run in read_sweep(undisturbed) if "intervention.rows=2" in run.overrides)
    return run.folder


@pytest.mark.parametrize("command", [("intervention.rows=2",), ("intervention.rows=2", "-m")], ids=["job", "sweep"])
def test_a_run_that_is_completed_while_a_launch_waits_for_its_lock_is_left_as_it_is(
    small, theirs, monkeypatch, capsys, command
):
    folder, hold = small.root / theirs.name, Run.hold

    def wait(run):
        shutil.copytree(theirs, folder, dirs_exist_ok=True)
        (folder / "effects.parquet").chmod(0o400)  # by which to know it again
        hold(run)

    monkeypatch.setattr(Run, "hold", wait)
    assert small(*command) == 0
    alone = "-m" not in command  # a sweep says it in its table
    assert ("already completed, nothing to do" in capsys.readouterr().err) is alone
    assert (folder / "effects.parquet").stat().st_mode & 0o777 == 0o400
    assert Run(folder).look().state == "completed"


def test_an_empty_run_json_heals_by_the_same_command(small, theirs, assert_undisturbed, capsys):
    folder = shutil.copytree(theirs, small.root / theirs.name)
    (folder / "run.json").write_text("")
    (folder / "effects.parquet").write_text("of a completed run")
    assert small("intervention.rows=2") == 0
    assert "run.json cannot be read" in capsys.readouterr().err
    assert_undisturbed(small.root)
