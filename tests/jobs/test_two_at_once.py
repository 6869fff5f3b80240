"""What a launch makes of runs that another launch, or its end in the middle of a write, has left."""

from __future__ import annotations

import shutil

import pytest

from dovision.results.run_record import Run, read_sweep


@pytest.fixture
def theirs(undisturbed):
    """The run directory of the job of two rows, as another launch completes it."""
    (run,) = (run for run in read_sweep(undisturbed) if "intervention.rows=2" in run.overrides)
    return run.folder


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_empty_run_json_heals_by_the_same_command(small, theirs, assert_undisturbed, capsys):
    folder = shutil.copytree(theirs, small.root / theirs.name)
    (folder / "run.json").write_text("")
    (folder / "effects.parquet").write_text("of a completed run")
    assert small("intervention.rows=2") == 0
    assert "run.json cannot be read" in capsys.readouterr().err
    assert_undisturbed(small.root)
