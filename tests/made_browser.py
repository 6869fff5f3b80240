"""Debian's chromium, started once for all tests: two drivers cannot run in one process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
SLOWEST = 60_000  # milliseconds that a page may take on a loaded machine, where 20 processes share a core


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A running browser, or a skip that says what to install."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def violations(page: Any) -> list[str]:
    """Rules of accessibility that axe finds broken: name, number of elements, the first of them."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    wrong = axe.run(page).response["violations"]
    return [f"{rule['id']}, {len(rule['nodes'])}: {rule['nodes'][0]['html'][:200]}" for rule in wrong]
