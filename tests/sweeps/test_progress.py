import logging
import re

import pytest

from dovision.store.run_directory import RunDirectory
from dovision.sweeps import progress as module
from dovision.sweeps.jobs import Job
from dovision.sweeps.progress import Progress


@pytest.fixture
def jobs(tmp_path):
    return [Job(number, (f"seed={number}",), tmp_path / str(number)) for number in range(3)]


def test_each_job_that_ends_is_a_line_with_what_is_left(jobs, caplog, monkeypatch):
    monkeypatch.setattr(module, "_PERIOD", 0.01)
    caplog.set_level(logging.INFO)
    runs = [RunDirectory(job.folder) for job in jobs]
    runs[0].start({}, [], {})
    runs[0].complete({})
    with Progress(jobs, again=()):
        runs[1].start({}, [], {})
        runs[1].fail(ValueError("no"))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert re.fullmatch(r"2 of 3 jobs ended, 1 not completed, about \d+ min left: failed seed=1", lines[0])


def test_a_failure_of_an_earlier_command_is_not_told_again(jobs, caplog):
    caplog.set_level(logging.INFO)
    run = RunDirectory(jobs[0].folder)
    run.start({}, [], {})
    run.fail(ValueError("no"))
    with Progress(jobs[:1], again=()) as progress:
        progress._began += 1
    assert caplog.records == []
