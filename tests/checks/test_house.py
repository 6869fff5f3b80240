"""What checks/house.py --strict, which is part of make check, does not look at."""

from __future__ import annotations

import pytest

from programs import program


@pytest.fixture(scope="module")
def house():
    """The check, as a module."""
    return program("checks/house.py")


def test_the_glossary_names_words_that_have_gone_and_words_that_are_no_names(house):
    banned, names = house.replaced()
    assert {"told", "take up", "arm"} <= set(banned)
    assert {"place", "facts", "part"} <= set(names)
    assert not {"not", "as a name", ""} & {*banned, *names}


def test_a_count_is_refused_above_its_smallest_value_of_the_past(house, monkeypatch):
    house.limits.cache_clear()
    past = "+src_lines = 10\n+test_lines = 70000\n"
    monkeypatch.setattr(house.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": past}))
    limits = house.limits()
    assert limits["src_lines"] == 10
    assert 10 < limits["test_lines"] < 70_000


def test_a_method_that_python_calls_is_none_that_is_called_once(house):
    assert not [place for place in house.short_and_called_once() if ": __" in place]
