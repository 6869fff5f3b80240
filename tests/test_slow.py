"""The list of slow tests is one of tests."""

from __future__ import annotations

import re

import pytest

from made_slow import LIST, Recorder

NAMES = LIST.read_text().split()


def test_each_name_is_that_of_a_test():
    for name in NAMES:
        path, *_, function = name.split("::")
        assert re.search(rf"^ *def {function}\(", (LIST.parents[1] / path).read_text(), re.MULTILINE), name


def test_a_function_is_slow_that_takes_long_with_some_of_its_parameters(tmp_path, monkeypatch):
    monkeypatch.setattr("made_slow.LIST", tmp_path / "slow.txt")
    recorder = Recorder()
    for name, seconds in (("a.py::one[x]", 0.4), ("a.py::one[y]", 0.2), ("a.py::one[y]", 0.4), ("a.py::two", 0.5)):
        report = pytest.TestReport(name, ("", 0, ""), {}, "passed", None, "call", duration=seconds)
        recorder.pytest_runtest_logreport(report)
    recorder.pytest_sessionfinish()
    assert (tmp_path / "slow.txt").read_text() == "a.py::one\n"
