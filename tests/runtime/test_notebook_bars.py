"""Progress in a notebook: lines in the output of the cell while something is measured, and none afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from dovision.runtime import progress
from waiting import wait_for


@pytest.fixture
def shown(monkeypatch):
    """Texts that a kernel of IPython is sent."""
    texts: list[str] = []
    handle = SimpleNamespace(
        display=lambda data, raw: texts.append(data["text/plain"]),
        update=lambda data, raw: texts.append(data["text/plain"]),
    )
    display = SimpleNamespace(DisplayHandle=lambda: handle)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return texts


def measure(display: progress.Display, until: Callable[[], object]) -> None:
    with display.stage("effects", "images", 8, done=2) as stage:
        stage.advance(2)
        wait_for(until)


def test_a_kernel_shows_bars_that_go_at_the_end(shown):
    measure(progress.Display(), lambda: shown and "4/8 images" in shown[-1])
    assert "effects" in shown[0]
    assert shown[-1] == ""


def test_a_silenced_display_shows_none(shown):
    display = progress.Display()
    with display.silenced():
        ends = time.monotonic() + 0.3  # of looks
        measure(display, lambda: time.monotonic() > ends)
    assert shown == []
