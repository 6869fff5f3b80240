"""Docstrings of the public API: complete, by checks/docstrings.py, and each example runs as shown."""

from __future__ import annotations

import pytest

import dovision as dv
from programs import program

docstrings = program("checks/docstrings.py")
PUBLIC = docstrings.public()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name):
    assert list(docstrings.missing(name)) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_public_name_runs(name):
    assert docstrings.failures(name) == ""


def test_what_is_missing_is_found(monkeypatch):
    def bare(image):
        pass

    class Half:
        """Half of a class.

        Args:
            other: what it has not.
        """

        def __init__(self, size):
            pass

        @property
        def width(self):
            pass

    bare.__module__ = Half.__module__ = "dovision.notebook"
    monkeypatch.setattr(docstrings, "public", lambda: {"bare": bare, "Half": Half, "one": dv.Box})
    found = [lack for name in ("bare", "Half", "one") for lack in docstrings.missing(name)]
    assert found == [
        "bare: a docstring", "bare: an example", "bare: the argument image", "bare: Args",
        "Half: an example", "Half: the argument size", "Half.width: a docstring",
    ]  # fmt: skip
    broken = "Sum.\n\n    >>> 1 + 1\n    3\n"
    monkeypatch.setattr(bare, "__doc__", broken, raising=False)
    assert "Got:\n    2" in docstrings.failures("bare")
