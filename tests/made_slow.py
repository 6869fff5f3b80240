"""Which tests are slow, and which long: as a run has timed them, in slow.txt and long.txt; see the markers.

A module's fixture in a list, which is written there by hand, stands for all tests of the module that use it: the first
of them makes it, whichever that is, and a run would name that one alone.
"""

from collections import Counter
from pathlib import Path

import pytest

LISTS = {"slow": 0.15, "long": 0.8}  # marker, and list of that name: seconds
FOLDER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-slow", action="store_true", help="write what is slow and long into tests/*.txt")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("record_slow") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    named = {marker: set(names(marker)) for marker in LISTS}
    for item in items:
        path = item.nodeid.partition("::")[0]
        fixtures = {f"{path}::{name}" for name in getattr(item, "fixturenames", ())}
        for marker in LISTS:
            if not named[marker].isdisjoint({item.nodeid.partition("[")[0], *fixtures}):
                item.add_marker(marker)
        if item.get_closest_marker("browser"):
            item.add_marker("long")
        if "fitted" in getattr(item, "fixturenames", ()):  # starts from a fitted classifier
            item.add_marker("slow")


def names(marker: str) -> list[str]:
    """The tests in the list of a marker."""
    file = FOLDER / f"{marker}.txt"
    return file.read_text().split() if file.exists() else []


class Recorder:
    """Times tests with what they set up; a function is slow if it is for some of its parameters."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        for marker, most in LISTS.items():
            above = {name.partition("[")[0] for name, seconds in self.seconds.items() if seconds > most}
            above |= {name for name in names(marker) if not name.rpartition("::")[2].startswith("test_")}
            (FOLDER / f"{marker}.txt").write_text("".join(f"{name}\n" for name in sorted(above)))
