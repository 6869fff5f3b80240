"""Stages of a job: their counts, their rates and the time that is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovision.runtime.stage import BYTES, RateMeter, Stage, Steps, duration_text, rate_text


def test_a_line_has_what_is_done_of_how_many_the_rate_and_the_time_left():
    stage = Stage("effects", "passes", 4000, 0, now=0.0)
    assert stage.line(0.0) == "effects: 0/4,000 passes, 0:00:01 so far"
    stage.advance(1000)
    stage.measure(10.0)
    assert stage.line(10.0) == "effects: 1,000/4,000 passes, 100/s, 0:00:30 left"
    stage.advance(3000)
    assert stage.line(10.0) == "effects: 4,000/4,000 passes, 100/s"


def test_bytes_are_written_in_units_of_thousands():
    stage = Stage("films.tar", BYTES, 42_000_000_000, 1_500_000, now=0.0)
    stage.advance(2_000_000)
    stage.measure(4.0)
    assert stage.line(4.0).startswith("films.tar: 3.5 MB/42.0 GB, 500.0 kB/s, 23:19:")


def test_a_stage_whose_whole_is_not_known_counts():
    stage = Stage("hashes", "files", None, 0, now=0.0)
    stage.advance(3)
    stage.measure(1.0)
    assert stage.line(1.0) == "hashes: 3 files, 3.0/s, 0:00:01 so far"
    assert stage.bar("").share is None


def test_the_bar_of_a_job_counts_its_steps_and_the_share_of_the_one_at_hand():
    steps = Steps("seed=1", ["data", "fits", "effects", "summary"], now=0.0)
    steps.go_to("effects", now=5.0)
    bar = steps.bar(0.5, "")
    assert (bar.name, bar.amount, bar.share) == ("job seed=1", "step 3/4: effects", 0.625)
    assert steps.are_nearly_done
    assert steps.line(65.0) == "effects: 0:01:00 so far"


def test_a_step_that_a_job_does_not_have_is_refused():
    with pytest.raises(ValueError, match="maps"):
        Steps("", ["effects"], now=0.0).go_to("maps", now=0.0)


def metered(*marks, done=0.0):
    meter = RateMeter(done, 0.0)
    for now, count in marks:
        meter.update(count, now)
    return meter


def test_nothing_is_known_before_something_is_done():
    assert metered().left(10, now=5.0) is None
    assert metered().rate is None


def test_the_time_left_is_that_of_the_work_left_at_the_measured_rate():
    assert metered((10.0, 5)).left(20, now=10.0) == pytest.approx(30.0)


def test_what_was_done_before_a_resumed_run_is_no_measurement():
    meter = metered((10.0, 95), done=90)
    assert meter.rate == pytest.approx(0.5)
    assert meter.left(100, now=10.0) == pytest.approx(10.0)


def test_a_slow_beginning_is_left_out():
    assert metered((100.0, 1), (120.0, 2), (140.0, 3), (160.0, 4)).rate == pytest.approx(2 / 40)


def test_a_quick_part_of_a_batch_is_no_rate_as_long_as_little_time_is_measured():
    assert metered((10.0, 1), (20.0, 2), (21.0, 4)).rate == pytest.approx(4 / 21)


def test_the_time_falls_while_a_step_is_under_way_and_rises_once_it_is_late():
    meter = metered((10.0, 1), (20.0, 2))
    times = [meter.left(3, now) for now in (20.0, 25.0, 28.0, 29.0, 60.0)]
    assert times == pytest.approx([10.0, 5.0, 2.0, 1.0, 40 / 9])


def test_nothing_is_left_of_what_is_done():
    assert metered((10.0, 5)).left(5, now=10.0) is None


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 50)), min_size=1, max_size=300), st.floats(0, 1e4))
def test_a_time_left_is_positive_whatever_was_measured(steps, silence):
    meter, now, done = RateMeter(0, 0.0), 0.0, 0
    for seconds, count in steps:
        now, done = now + seconds, done + count
        meter.update(done, now)
    left = meter.left(done + 10, now + silence)
    assert (left is None) == (done == 0)
    assert left is None or left > 0


def test_rates_and_durations_are_numbers_that_can_be_read():
    assert [rate_text(rate) for rate in (12345, 10, 2.34, 0.5, 0.01, 1e-4)] == [
        "12,345/s", "10/s", "2.3/s", "30/min", "36/h", "0.4/h"
    ]  # fmt: skip
    assert [duration_text(seconds) for seconds in (0, 0.2, 59.1, 3725, 100 * 3600)] == [
        "0:00:01", "0:00:01", "0:01:00", "1:02:05", "100:00:00"
    ]  # fmt: skip
