import sys

import pytest

from dovision.runtime.bars import Bar, Bars, has_bars
from pseudo_terminal import terminal

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


def test_bars_that_are_the_same_are_not_drawn_again():
    with terminal() as end:
        bars = Bars(end.stream)
        bars.draw(TWO)
        end.screen()
        before = len(end.received)
        bars.draw(TWO)
        end.screen()
        assert len(end.received) == before


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    with terminal() as end:
        Bars(end.stream).draw(TWO)
        end.screen()
        assert "\x1b[31m" in end.received  # failed, in red
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as end:
        Bars(end.stream).draw(TWO)
        end.screen()
        assert "\x1b[31m" not in end.received
        assert "2 failed" in end.received


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
