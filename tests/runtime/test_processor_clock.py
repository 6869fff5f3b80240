"""The clock that stands still while other programs run."""

import time

from dovision.runtime import processor_clock
from dovision.runtime.processor_clock import undisturbed_seconds


def test_time_that_the_thread_waits_for_a_processor_does_not_count(tmp_path, monkeypatch):
    scheduled = tmp_path / "schedstat"
    monkeypatch.setattr(processor_clock, "_SCHEDULED", scheduled)
    monkeypatch.setattr(time, "perf_counter", lambda: 10.0)
    assert undisturbed_seconds() == 10.0  # no such file
    scheduled.write_text("5 4000000000 7\n")
    assert undisturbed_seconds() == 6.0
    scheduled.write_text("")
    assert undisturbed_seconds() == 10.0


def test_time_that_the_thread_sleeps_counts():
    began = undisturbed_seconds()
    time.sleep(0.02)
    assert undisturbed_seconds() - began > 0.015
