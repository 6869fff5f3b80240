"""What a dry run prints: megabytes by hand, and minutes of jobs and of all of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dovision.sweeps.dry_run import ROW, SUM, JobEstimate, table, table_bytes
from dovision.sweeps.jobs import Job
from dovision.sweeps.timing import Estimate
from dovision.types import Task

HALF = torch.tensor([0, -1] * 50)  # every other image has a label
PATIENTS = torch.arange(100) // 10
IMAGES = SimpleNamespace(
    task=Task("multiclass", tuple(map(str, range(14)))),
    order=lambda split: np.arange(100),
    source=lambda split: SimpleNamespace(label=HALF, group=PATIENTS),
)


@pytest.mark.parametrize(
    ("keep", "classes", "sums"),
    [("all", 14, 0), ("predicted", 2.5, 1), ("labels", 0.5, 1), ("top_k", 6, 1), ("summary", 0, 1)],
)
def test_rows_by_hand(keep, classes, sums):
    """100 images, 2 conditions of 4 units, and sums of 10 patients over 14 classes."""
    settings = SimpleNamespace(keep=keep, top_k=3, split="test")
    size = table_bytes(settings, IMAGES, list(range(100)), 2, 4)
    assert size == 100 * 8 * classes * ROW + sums * 10 * 8 * 14 * SUM


def test_no_more_classes_than_there_are():
    settings = SimpleNamespace(keep="top_k", top_k=99, split="test")
    assert table_bytes(settings, IMAGES, [0], 1, 4) == 4 * 14 * (ROW + SUM)


def lines(*minutes: tuple[str, Estimate], workers: int | None = 1) -> list[str]:
    jobs = [JobEstimate(Job(number, (), None), state, time=time) for number, (state, time) in enumerate(minutes)]
    return table(jobs, workers).splitlines()


def test_a_dry_run_never_prints_zero_for_what_is_to_be_done():
    unknown = ("attack (it stops early)",)
    printed = lines(
        *(("completed", Estimate(0.0)), ("missing", Estimate(0.001)), ("missing", Estimate(0.25, unknown))),
        *(("missing", Estimate(0.0, unknown)), ("interrupted", Estimate(3.0)), ("missing", Estimate(2.0))),
    )
    assert [line.split()[4] for line in printed[1:7]] == ["0", "<0.01", "0.25+", "?", "<=3.0", "2.0"]
    assert "6 jobs, 5 to do" in printed[7]
    assert "at least 5.3 minutes, " in printed[7]
    assert printed[8] == "not known of 2 jobs: attack (it stops early)"
    assert "minutes unknown" in lines(("missing", Estimate(0.0, unknown)))[2]


@pytest.mark.parametrize(
    ("workers", "total"),
    [
        (1, "about 6.0 minutes, "),
        (2, "about 4.0 minutes on 2 workers, "),
        (None, "about 6.0 minutes of work for an unknown number of workers, "),
    ],
)
def test_the_minutes_of_a_sweep_are_those_of_its_workers_and_of_its_longest_job(workers, total):
    assert total in lines(("missing", Estimate(2.0)), ("missing", Estimate(4.0)), workers=workers)[-1]


def test_a_sweep_with_nothing_to_do_takes_no_minutes():
    assert "about 0 minutes, " in lines(("completed", Estimate(0.0)))[-1]


def test_shards_take_the_disk_of_the_run_that_is_merged_from_them_too():
    shard = JobEstimate(Job(0, (), None), "missing", bytes=10**7, merged=10**7)
    assert "10 MB of effects and 10 in the run that is merged from shards. " in table([shard])
