"""The display of progress, by a clock that is set, as lines and as bars on a terminal."""

import logging
import sys
from contextlib import suppress
from contextvars import copy_context
from types import SimpleNamespace

import pytest

from dovision.io import progress
from dovision.io.progress import Display
from pseudo_terminal import terminal
from waiting import wait_for


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def display(clock):
    return Display(lambda: clock.now)


def test_a_line_is_logged_each_period_and_what_is_counted_is_not_logged_again(display, clock, monkeypatch, caplog):
    monkeypatch.setattr(progress, "PERIOD", 0.01)
    caplog.set_level(logging.INFO)
    with display.job(["effects", "summary"], "seed=1"), display.stage("effects", "images", 9_000) as stage:
        clock.now += 30
        line = "job seed=1, effects: 0/2 steps in 0:00:30 | effects: 0/9,000 images in 0:00:30"
        wait_for(lambda: caplog.messages[-1:] == [line])
        stage.advance(9_000)
        display.step("summary")
        clock.now += 60
        wait_for(lambda: caplog.messages[-1:] == ["job seed=1, summary: 1/2 steps in 0:01:00"])
    assert display.line() == ""


def test_rows_are_nested_and_have_the_time_left_of_what_was_measured(display, clock):
    with display.stage("sweep", "jobs", 4, done=1) as sweep:
        with display.job(["effects"]), display.stage("maps", "images") as maps:
            clock.now += 100
            maps.advance(3)
            rows = display.line().split(" | ")
            assert rows[0] == "sweep: 1/4 jobs in 0:01:40"
            assert rows[1:] == ["job, effects: 0/1 steps in 0:01:40", "maps: 3 images in 0:01:40"]
        sweep.update(failed=1)
        sweep.advance()
        assert display.line() == f"sweep: {sweep.text()}" == "sweep: 2/4 jobs, 1 failed in 0:01:40, 0:03:20 left"


def test_a_resumed_count_is_shown_and_is_no_rate(display, clock):
    with display.stage("effects", "passes", 1000, done=900) as stage:
        clock.now += 10
        stage.advance(10)
        assert display.line() == "effects: 910/1,000 passes in 0:00:10, 0:01:30 left"


def test_a_step_of_another_job_is_refused_and_stages_left_open_end_with_their_job(display):
    with display.job(["effects"]), pytest.raises(ValueError, match="maps"):
        display.step("maps")
    left = display.stage("effects", "passes", 10)
    with display.stage("sweep", "jobs", 2):
        with suppress(KeyboardInterrupt), display.job(["effects"]):
            left.__enter__()
            raise KeyboardInterrupt
        assert display.line() == "sweep: 0/2 jobs in 0:00:00"
        left.__exit__(None, None, None)


def test_nothing_is_shown_in_silence(display):
    with display.stage("outer", "files", 10), display.silenced(), display.stage("inner", "files", 10) as stage:
        stage.advance()
        assert display.line().startswith("outer: ")
        assert "inner" not in display.line()
    display.silence()
    with display.stage("outer", "files", 10), display.silenced(lines=True), display.stage("inner", "files", 10):
        assert display.line() == ""


def test_a_silence_that_outlasts_that_of_another_thread_ends_with_its_block(display):
    thread, silence = copy_context(), display.silenced()
    with display.silenced():
        thread.run(silence.__enter__)
    thread.run(silence.__exit__, None, None, None)
    with display.stage("outer", "files", 10):
        assert display.line().startswith("outer: ")


def test_items_are_counted_as_they_come(display):
    items = display.track("abc", "letters", "files", 3)
    assert [display.line()[:18] for _ in items] == [f"letters: {count}/3 files" for count in range(3)]
    assert display.line() == ""


def test_bars_stand_below_whole_lines_and_go_at_the_end(monkeypatch):
    with terminal(monkeypatch) as end:
        display, line = Display(), "[a path]/of:smile:/" + "letters" * 15
        log = logging.getLogger()
        monkeypatch.setattr(log, "handlers", [logging.StreamHandler()])
        with suppress(KeyboardInterrupt), display.stage("sweep", "jobs", 4), display.stage("[effects]", "passes", 9):
            for number in range(3):
                log.warning("%d %s", number, line)
            print("printed", file=sys.stderr)
            wait_for(lambda: len(shown := [row for row in end.screen().text() if row]) == 9 and "printed" in shown[-3])
            rows = [row for row in end.screen().text() if row]
            assert rows[-2].startswith("sweep     ━")
            assert " 0/4 jobs in 0:00:0" in rows[-2]
            assert rows[-1].startswith("[effects] ━")
            raise KeyboardInterrupt
        text = [f"0 {line}", f"1 {line}", f"2 {line}"]
        log.warning("after")
        screen = end.screen()
        assert [row for row in screen.text() if row] == [
            *(piece for row in text for piece in (row[:80], row[80:])), "printed", "after"
        ]  # fmt: skip
        assert end.received.endswith("after\r\n")
        assert screen.cursor
        assert sys.stderr is end.stream


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"JPY_PARENT_PID": "7"}])
def test_only_a_terminal_in_which_the_cursor_moves_has_bars(monkeypatch, variables):
    with terminal(monkeypatch) as end:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with Display().stage("effects", "passes", 100):
            pass
        end.read()
        assert end.received == ""


@pytest.fixture
def kernel(monkeypatch):
    """Texts that a kernel of IPython is sent."""
    texts: list[str] = []
    handle = SimpleNamespace(
        display=lambda progress: texts.append(progress._repr_mimebundle_((), ())["text/plain"]),
        update=lambda shown, raw=False: texts.append(
            (shown if raw else shown._repr_mimebundle_((), ()))["text/plain"]
        ),
    )  # fmt: skip
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(DisplayHandle=lambda: handle))
    monkeypatch.setattr("dovision.io.progress.DRAWING", 0.01)
    return texts


def test_a_notebook_has_bars_that_go_at_the_end(kernel):
    with Display().stage("effects", "images", 8, done=2) as stage:
        stage.advance(2)
        wait_for(lambda: kernel and "4/8 images" in kernel[-1])
    assert any(text.startswith("effects ━") for text in kernel)
    assert kernel[-1] == ""
