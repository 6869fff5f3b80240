import logging
import re

import pytest

from dovision.io.progress import in_console
from dovision.jobs import sweep as module
from dovision.jobs.job import Job
from dovision.jobs.sweep import Progress
from dovision.results.run_record import Run
from pseudo_terminal import terminal


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_PERIOD", 0.01)
    return [Job(tmp_path / str(number), (f"seed={number}",)) for number in range(3)]


@pytest.fixture
def runs(jobs):
    """The run directories of three jobs, of which the first is completed already."""
    runs = [Run(job.folder) for job in jobs]
    runs[0].start({}, [], {})
    runs[0].complete({})
    return runs


def fail(run):
    run.start({}, [], {})
    run.fail(ValueError("no"))


def test_each_job_that_fails_is_a_line_with_what_is_left(jobs, runs, caplog):
    caplog.set_level(logging.INFO)
    with Progress(jobs, [jobs[0].folder]):
        fail(runs[1])
        runs[2].start({}, [], {})
        runs[2].complete({})
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert re.fullmatch(r"sweep: [23]/3 jobs, 1 failed in 0:00:0\d(, 0:00:0\d left)?: failed seed=1", lines[0])


def test_a_failure_of_an_earlier_command_is_not_told_again(jobs, caplog):
    caplog.set_level(logging.INFO)
    fail(Run(jobs[0].folder))
    with Progress(jobs[:1], completed=[]):
        pass
    assert caplog.records == []


@pytest.mark.parametrize("bars", [True, False])
def test_a_terminal_has_a_bar_of_what_is_completed_and_failed_unless_there_are_workers(
    jobs, runs, monkeypatch, caplog, bars
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.root, "handlers", [caplog.handler])  # those of an earlier test write to the terminal
    with terminal(monkeypatch, columns=100) as end:
        with Progress(jobs, [jobs[0].folder], bars=bars):
            if bars:
                end.wait_for("1/3 jobs")
            fail(runs[1])
            if bars:
                end.wait_for("2/3 jobs, 1 failed")
        assert set(end.screen().text()) == {""}
        assert bars or end.received == ""
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("bars", "shown"), [(True, ["a warning", "progress"]), (False, ["a word", "a warning", "progress"])]
)
def test_what_the_jobs_of_a_sweep_in_this_process_say_is_for_their_own_logs(jobs, bars, shown):
    facts = (("jobs.session", 20, "a word"), ("jobs.session", 30, "a warning"), ("io.progress", 20, "progress"))
    records = [logging.LogRecord(f"dovision.{name}", level, "", 0, text, (), None) for name, level, text in facts]
    with Progress(jobs, [], bars=bars):
        assert [record.msg for record in filter(in_console, records)] == shown
    assert all(map(in_console, records))
