import pytest

from dovision.jobs.closing import TextTable, print_states, print_table
from pseudo_terminal import terminal

JOBS = TextTable(
    ["job", "attack", "state", "mean |expected effect|"],
    [["0", "a rather long name of an attack", "completed", "0.0123"], ["1", "pgd", "failed", "-"]],
    names=3,
)
LONG = TextTable(["job"], [[str(number)] for number in range(300)])


@pytest.fixture
def printed(monkeypatch):
    """What a terminal of some columns and lines shows of a table, without blank lines, and what it received."""

    def show(table, columns=80, lines=24):
        with terminal(monkeypatch, lines, columns) as end:
            print_table(table)
            end.stream.flush()
            text = [line.rstrip() for line in end.screen().text() if line.strip()]
            return text, end.received

    return show


def test_a_table_is_plain_and_whole_without_a_terminal(capsys):
    print_table(LONG)
    print_table(JOBS)
    assert capsys.readouterr().err.splitlines()[301:] == [
        "job  attack                           state      mean |expected effect|",
        "0    a rather long name of an attack  completed                  0.0123",
        "1    pgd                              failed                          -",
    ]


def test_states_have_colours_on_a_terminal(printed):
    text, received = printed(JOBS)
    assert text[-2:] == [
        " 0    a rather long name of an attack  completed                  0.0123",
        " 1    pgd                              failed                          -",
    ]
    assert "\x1b[32mcompleted" in received
    assert "\x1b[31mfailed" in received


def test_names_give_way_in_a_narrow_terminal_and_rows_beyond_a_screenful_are_counted(printed):
    text, _ = printed(JOBS, columns=50)
    assert text[-4:] == [
        " 0    a rather long    completed           0.0123",
        "      name of an",
        "      attack",
        " 1    pgd              failed                   -",
    ]
    assert printed(LONG, lines=30)[0][-2:] == [" 21", "and 278 more rows"]


def test_states_in_a_sentence_have_their_colours(monkeypatch, capsys):
    print_states("2 jobs: 1 completed, 1 failed.\n  job 1 failed: no")
    assert capsys.readouterr().err == "2 jobs: 1 completed, 1 failed.\n  job 1 failed: no\n"
    with terminal(monkeypatch) as end:
        print_states("1 jobs: 1 failed.")
        end.screen()
        assert end.received == "1 jobs: 1 \x1b[31mfailed\x1b[0m.\r\n"
