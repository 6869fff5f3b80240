"""Docstrings of the public API: complete, by checks/docstrings.py, and each example runs as shown."""

import pytest

from programs import program

docstrings = program("checks/docstrings.py")
PUBLIC = docstrings.public()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name):
    assert list(docstrings.missing(name)) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_public_name_runs(name):
    assert docstrings.failures(name) == ""
