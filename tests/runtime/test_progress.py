"""The display of progress, by a clock that is set, and its bars on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

import pytest

from dovision.runtime.progress import Bars, Display, has_bars
from dovision.runtime.stage import Bar
from pseudo_terminal import terminal


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def display(clock, monkeypatch):
    """A display that looks only when it is asked to."""
    monkeypatch.setattr(Display, "_show", lambda self, over: None)
    return Display(clock)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def pass_time(display, clock, seconds, stage=None, per_second=0):
    for _ in range(seconds):
        clock.now += 1
        if stage is not None:
            stage.advance(per_second)
        display.look()


def test_a_long_stage_logs_a_line_every_five_seconds_and_later_twice_a_minute(display, clock, lines):
    with display.stage("effects", "passes", 10_000) as stage:
        pass_time(display, clock, 4, stage, 10)
        assert lines() == ["effects: 40/10,000 passes, 10/s, 0:16:36 left"]
        pass_time(display, clock, 596, stage, 10)
        assert len(lines()) == 149
        pass_time(display, clock, 60, stage, 10)
    assert len(lines()) == 151
    assert lines()[-1].startswith("effects: 6,")


def test_a_long_step_without_a_stage_says_how_long_it_takes(display, clock, lines):
    with display.job(["effects", "summary"], "seed=1"):
        display.step("summary")
        pass_time(display, clock, 5)
    assert lines() == ["seed=1: summary: 0:00:04 so far"]


def test_what_is_counted_is_not_logged_again_and_what_stands_still_says_how_long(display, clock, lines):
    with display.job(["effects"], "seed=1"), display.stage("effects", "images", 9_000) as stage:
        pass_time(display, clock, 9)
        pass_time(display, clock, 1, stage, 9_000)
        pass_time(display, clock, 9)
    assert lines()[0] == "seed=1: effects: 0/9,000 images, 0:00:04 so far"
    assert lines()[-1] == "seed=1: effects: 0:00:18 so far"
    assert len({*lines()}) == len(lines()) >= 4


def bars(display, clock):
    return {bar.name: (bar.amount, bar.rate, bar.left) for bar in display.rows(clock.now)}


def test_the_time_left_is_that_of_the_sweep_once_a_job_has_ended_and_before_that_of_what_is_known(display, clock):
    with display.sweep(4, 1) as sweep:
        assert bars(display, clock) == {"sweep": ("1/4 jobs", "", "- left")}
        with display.job(["fits", "effects", "summary"], "seed=1"):
            assert bars(display, clock)["sweep"] == ("1/4 jobs", "", "- left")
            with display.stage("fit", "batches", 30) as stage:
                pass_time(display, clock, 10, stage, 1)
                assert bars(display, clock) == {
                    "sweep": ("1/4 jobs", "", ""),
                    "job seed=1": ("step 1/3: fits", "", ""),
                    "fit": ("10/30 batches", "1.0/s", "0:00:20 left"),
                }
            display.step("effects")
            with display.stage("effects", "passes", 200) as stage, display.stage("maps", "images", 20) as maps:
                pass_time(display, clock, 10, stage, 10)
                maps.advance(5)
                display.look()
                found = bars(display, clock)
        assert found["job seed=1"] == ("step 2/3: effects", "", "0:00:30 left")
        assert found["effects"] == ("100/200 passes", "10/s", "")
        assert found["maps"] == ("5/20 images", "30/min", "")
        sweep.advance()
        display.look()
        assert bars(display, clock) == {"sweep": ("2/4 jobs", "3.0/min", "0:00:40 left")}


def test_the_time_left_of_stages_that_go_side_by_side_is_that_of_the_slowest_in_the_first_row(display, clock):
    with display.stage("effects", "passes", 100) as effects, display.stage("maps", "images", 100) as maps:
        clock.now += 10
        effects.advance(50)
        maps.advance(10)
        display.look()
        assert [bar.left for bar in display.rows(clock.now)] == ["0:01:30 left", ""]


def test_a_resumed_count_is_shown_and_is_no_rate(display, clock):
    with display.stage("effects", "passes", 1000, done=900) as stage:
        pass_time(display, clock, 10, stage, 1)
        assert bars(display, clock) == {"effects": ("910/1,000 passes", "1.0/s", "0:01:30 left")}


def test_stages_that_an_exception_has_left_open_end_with_their_job(display, clock):
    left = display.stage("effects", "passes", 10)
    with display.sweep(2, 0):
        with suppress(KeyboardInterrupt), display.job(["effects"]):
            left.__enter__()
            raise KeyboardInterrupt
        assert list(bars(display, clock)) == ["sweep"]


def test_nothing_is_shown_in_silence(display, clock, lines):
    with display.stage("outer", "files", 10), display.silenced(), display.stage("inner", "files", 10) as stage:
        stage.advance()
        assert list(bars(display, clock)) == ["outer"]


def test_items_are_counted_as_they_come(display, clock):
    items = display.track("abc", "letters", "files", 3)
    assert [bars(display, clock)["letters"][0] for _ in items] == ["0/3 files", "1/3 files", "2/3 files"]
    assert bars(display, clock) == {}


def test_a_terminal_has_bars_in_place_of_lines_and_is_as_before_afterwards(clock, monkeypatch, caplog):
    monkeypatch.setenv("TERM", "xterm")
    caplog.set_level(logging.INFO)
    display = Display(clock)
    with terminal() as end:
        monkeypatch.setattr(sys, "stderr", end.stream)
        with display.stage("effects", "passes", 100) as stage:
            assert display.has_bars
            clock.now += 40
            stage.advance(25)
            display.look()
            os.write(end.stream.fileno(), b"a line of another process\n")
            assert end.screen().text()[0] == "a line of another process"
            assert end.screen().text()[-1].endswith("25/100 passes  38/min  0:02:00 left")
        assert [line for line in end.screen().text() if line] == ["a line of another process"]
        assert end.screen().bottom == 23
        assert not display.has_bars
    assert caplog.records == []


def test_a_worker_draws_no_bars_and_writes_no_lines_on_a_terminal(clock, monkeypatch, lines):
    monkeypatch.setenv("TERM", "xterm")
    display = Display(clock)
    with terminal() as end:
        monkeypatch.setattr(sys, "stderr", end.stream)
        display.as_worker()
        with display.stage("effects", "passes", 100) as stage:
            assert not display.has_bars
            pass_time(display, clock, 60, stage, 1)
        end.screen()
        assert end.received == ""
    assert lines() == []


def test_a_worker_whose_output_is_a_file_writes_lines(display, clock, lines):
    display.as_worker()
    with display.job(["effects"], "0123abc"), display.stage("effects", "passes", 100) as stage:
        pass_time(display, clock, 5, stage, 1)
    assert lines() == ["0123abc: effects: 4/100 passes, 1.0/s, 0:01:36 left"]


def test_a_fork_shows_nothing_and_waits_for_no_lock(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    display = Display(clock)
    with terminal() as end:
        monkeypatch.setattr(sys, "stderr", end.stream)
        with display.stage("effects", "passes", 100), display._lock:
            fork = os.fork()
            if fork == 0:
                with display.stage("of the fork", "files", 1):
                    os._exit(int(display.has_bars))
            assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0


TWO = [Bar("sweep", 0.25, "3/12 jobs", 2, "11/min", "0:01:00 left"), Bar("effects", 0.5, "10/20 passes")]


@pytest.mark.parametrize("columns", [80, 140])
def test_bars_are_the_last_lines_of_the_terminal(columns):
    with terminal(24, columns) as end:
        Bars(end.stream).draw(TWO)
        last = end.screen().text()[-2:]
    assert last[0].startswith("sweep    ━")
    assert last[0].endswith("━  3/12 jobs, 2 failed  11/min  0:01:00 left")
    assert "━  " in last[1]
    assert last[1].endswith(" 10/20 passes")
    assert all(len(line) < columns for line in last)


def test_lines_of_whoever_prints_scroll_above_the_bars():
    with terminal(12, 60) as end:
        bars = Bars(end.stream)
        bars.draw(TWO)
        for number in range(30):
            end.stream.write(f"line {number}\n")
            bars.draw([TWO[0], Bar("effects", number / 30, f"{number}/30 passes")])
        screen = end.screen()
        assert screen.text()[:-2] == [*(f"line {number}" for number in range(21, 30)), ""]
        assert screen.gone == [f"line {number}" for number in range(21)]
        assert screen.text()[-1].endswith("29/30 passes")
        bars.clear()
        end.stream.write("the last line\n")
        assert end.screen().text() == [*(f"line {number}" for number in range(21, 30)), "the last line", "", ""]


def test_a_line_that_is_begun_goes_on_where_it_was():
    with terminal(12, 60) as end:
        bars = Bars(end.stream)
        end.stream.write("\n" * 11 + "it takes ")
        end.stream.flush()
        bars.draw(TWO)
        end.stream.write("a while")
        end.stream.flush()
        bars.clear()
        assert [line for line in end.screen().text() if line] == ["it takes a while"]


def test_more_and_fewer_bars_leave_no_rest():
    with terminal(12, 60) as end:
        bars = Bars(end.stream)
        end.stream.write("a line\n")
        for shown in (TWO[:1], TWO, TWO[1:], TWO):
            bars.draw(shown)
            text = [line for line in end.screen().text() if line]
            assert text[0] == "a line"
            assert [line.split(" ")[0] for line in text[1:]] == [bar.name for bar in shown]
        bars.clear()
        assert [line for line in end.screen().text() if line] == ["a line"]


@pytest.mark.parametrize(
    ("variables", "bars"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({"TERM": "xterm", "JPY_PARENT_PID": "7"}, False),
    ],
)
def test_only_a_terminal_in_which_the_cursor_moves_has_bars(monkeypatch, variables, bars):
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with terminal() as end:
        assert has_bars(end.stream) == bars
    with terminal(0, 0) as end:
        assert not has_bars(end.stream)
    assert not has_bars(sys.stdout)
