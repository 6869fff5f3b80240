import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovision.runtime.rate_meter import RateMeter, duration_text, rate_text


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
