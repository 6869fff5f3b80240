"""The minutes of jobs by hand, from tasks whose images take seconds that a test says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dovision.sweeps import timing
from dovision.sweeps.timing import BUDGET, PER_RUN, SHARE, BatchTimer, JobTasks, TimedTask


class Clock:
    """Seconds that pass only where a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "_now", clock)
    return clock


class Job(list[TimedTask]):
    """A job of these tasks."""

    settings = SimpleNamespace(seed=0, threads=2)
    network = "network"

    def key(self) -> str:
        return self.network


def task(clock: Clock, name: str, images: float, seconds: float, took: float = 0.0, **fields) -> TimedTask:
    """A task whose images take so many seconds each, as is found within the seconds that it `took`."""

    def time(images: float) -> float:
        clock.now += took
        if seconds < 0:
            raise ValueError("no such layer")
        return seconds

    return TimedTask(name, name, images, time, **fields)


def test_minutes_are_those_of_all_tasks_and_of_the_run_itself(clock):
    job = Job([task(clock, "fit", 120, 0.5), task(clock, "effects", 30, 2.0)])
    assert BatchTimer()(job).minutes == pytest.approx((60 + 60 + PER_RUN) / 60)


def test_workers_share_the_images_of_a_task(clock):
    job = Job([task(clock, "reading", 120, 1.0, workers=2)])
    assert BatchTimer()(job).minutes == pytest.approx((60 + PER_RUN) / 60)


def test_tasks_that_may_take_more_or_could_not_be_timed_are_named_with_the_reason(clock, caplog):
    job = Job([task(clock, "attack", 60, 1.0, unknown="it stops early"), task(clock, "maps", 60, -1.0)])
    estimate = BatchTimer()(job)
    assert estimate.unknown == ("attack (it stops early)", "maps (it could not be timed)")
    assert estimate.minutes == pytest.approx((60 + PER_RUN) / 60)
    assert "maps could not be timed: no such layer" in caplog.text
    assert BatchTimer()(Job([task(clock, "maps", 60, -1.0)])).minutes == 0


def test_tasks_of_equal_keys_and_threads_are_timed_once(clock):
    timer = BatchTimer()
    for workers in (1, 1, 2, 2):
        timer(Job([task(clock, "attack", 1, 1.0, took=5.0, workers=workers)]))
    assert clock.now == 10


def test_beyond_the_budget_effects_follow_from_their_passes(clock):
    timer = BatchTimer()
    assert timer(Job([task(clock, "4 units", 100, 1.0, took=50.0, passes=5)])).minutes == (100 + PER_RUN) / 60
    scaled = timer(Job([task(clock, "9 units", 100, 7.0, took=50.0, passes=10)]))
    assert scaled.minutes == pytest.approx((200 + PER_RUN) / 60)
    assert clock.now == 50  # more than a tenth of 100 seconds
    timer(Job([task(clock, "fit", 1000, 1.0)]))
    timer(Job([task(clock, "16 units", 100, 3.0, took=50.0, passes=17)]))
    assert clock.now == 100  # timed again, since a tenth of what is estimated by now is more


def test_passes_of_another_network_say_nothing(clock):
    timer, other = BatchTimer(), Job([task(clock, "9 units", 100, 7.0, took=50.0, passes=10)])
    other.network = "another network"
    timer(Job([task(clock, "4 units", 100, 1.0, took=50.0, passes=5)]))
    assert timer(other).minutes == pytest.approx((700 + PER_RUN) / 60)


def timed(clock: Clock, start: float, image: float, images: int, batch_size: int = 64) -> tuple[list[int], float]:
    """The sizes of the batches, and the seconds of an image, of a step that first sets up for `start` seconds."""
    settings = SimpleNamespace(evaluation=SimpleNamespace(batch_size=batch_size))
    job = JobTasks(settings, None, None, None, range(images), None, {}, [])
    sizes = []

    def step(samples: list[int]) -> None:
        clock.now += image * len(samples) + (0 if sizes else start)
        sizes.append(len(samples))

    object.__setattr__(job, "_batch", lambda samples: samples)
    return sizes, job._time_step(step, images)


def test_one_image_sets_up_and_a_fortieth_of_all_are_timed(clock):
    assert timed(clock, 3.0, 1.0, images=400) == ([1, 10], 1.0)
    assert timed(clock, 3.0, 1.0, images=400, batch_size=4) == ([1, 4], 1.0)


def test_a_batch_of_half_a_second_is_timed_if_that_is_more(clock):
    assert timed(clock, 0.0, 1 / 64, images=200) == ([1, 32], 1 / 64)
    assert timed(clock, 0.0, 1 / 1024, images=200) == ([1, 64], 1 / 1024)


def test_of_a_few_images_that_take_long_one_is_timed(clock):
    assert timed(clock, 0.0, 0.625, images=19) == ([1], 0.625)
    assert timed(clock, 2.0, 0.625, images=20) == ([1, 1], 0.625)
    assert timed(clock, 0.0, 0.25, images=1) == ([1], 0.25)


@pytest.mark.parametrize("images", [10, 40, 100, 1000])
def test_a_task_of_many_images_spends_a_tenth_of_its_time_at_most(clock, images):
    sizes, _ = timed(clock, 0.0, 1.0, images, batch_size=10**6)
    assert sum(sizes) <= BUDGET * images
    assert sum(sizes) >= SHARE * images


def test_the_device_has_done_its_work_when_the_clock_is_read(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("synchronize"))
    timing._now()
    assert calls == ["synchronize"]
