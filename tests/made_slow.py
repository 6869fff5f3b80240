"""Which tests are slow: those that a run has timed, in slow.txt, and those that start from a fitted classifier."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("slow.txt")
SECONDS = 0.5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-slow", action="store_true", help=f"write what takes above {SECONDS} s into {LIST.name}")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("record_slow") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    named = set(LIST.read_text().split()) if LIST.exists() else set()
    for item in items:
        if item.nodeid.partition("[")[0] in named or "fitted" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


class Recorder:
    """Times tests with what they set up; a function is slow if it is for some of its parameters."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        slow = {name.partition("[")[0] for name, seconds in self.seconds.items() if seconds > SECONDS}
        LIST.write_text("".join(f"{name}\n" for name in sorted(slow)))
