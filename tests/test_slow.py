"""The lists of slow and of long tests are lists of tests, and of fixtures."""

from __future__ import annotations

import re

import pytest

from made_slow import FOLDER, LISTS, Recorder, names


@pytest.mark.parametrize("marker", LISTS)
def test_each_name_is_that_of_a_test_or_fixture(marker):
    for name in names(marker):
        path, *_, function = name.split("::")
        assert re.search(rf"^ *def {function}\(", (FOLDER.parent / path).read_text(), re.MULTILINE), name


def test_a_function_is_slow_that_takes_long_with_some_of_its_parameters(tmp_path, monkeypatch):
    monkeypatch.setattr("made_slow.FOLDER", tmp_path)
    (tmp_path / "long.txt").write_text("a.py::made\na.py::test_before\n")
    recorder = Recorder()
    ones = [("a.py::one[x]", 0.12), ("a.py::one[y]", 0.06), ("a.py::one[y]", 0.12)]
    for name, seconds in (*ones, ("a.py::two", 0.15), ("a.py::three", 1.6)):
        report = pytest.TestReport(name, ("", 0, ""), {}, "passed", None, "call", duration=seconds)
        recorder.pytest_runtest_logreport(report)
    recorder.pytest_sessionfinish()
    assert names("slow") == ["a.py::one", "a.py::three"]
    assert names("long") == ["a.py::made", "a.py::three"]
