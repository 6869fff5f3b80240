"""Stages of a job, whose progress is counted, and the steps that a job consists of."""

from __future__ import annotations

from collections.abc import Sequence

from dovision.runtime.bars import Bar
from dovision.runtime.rate_meter import RateMeter, duration_text, rate_text

BYTES = "bytes"  # the unit that is written as kB, MB or GB
BRIEF = ("detector fits", "summary")  # steps of a job that take seconds, which its time left leaves out


class Stage:
    """A piece of work with a count of what is done; counting is an addition, cheap enough for each batch.

    Args:
        name: what is done.
        unit: of the count, in the plural.
        total: how much there is to do; None if that is not known (yet).
        done: how much was done before, such as by a run that is resumed.
        now: the time, in seconds.
    """

    def __init__(self, name: str, unit: str, total: float | None, done: float, now: float) -> None:
        self.name = name
        self.unit = unit
        self.total = total
        self.done = done
        self.failed = 0  # of those done
        self.reported = now  # the time of the last line
        self._meter = RateMeter(done, now)

    def advance(self, count: float = 1) -> None:
        """Count what was done since the last call."""
        self.done += count

    def measure(self, now: float) -> None:
        """Measure how fast it goes."""
        self._meter.update(self.done, now)

    def left(self, now: float) -> float | None:
        """Seconds that it still takes; None as long as nothing is known."""
        return None if self.total is None else self._meter.left(self.total, now)

    @property
    def share(self) -> float | None:
        """The share that is done; None if that is not known."""
        return min(self.done / self.total, 1.0) if self.total else None

    def bar(self, left: str) -> Bar:
        """It as a row of the terminal, with the text of the time left."""
        return Bar(self.name, self.share, self._count, self.failed, self._rate, left)

    def line(self, now: float) -> str:
        """It as a line of a log."""
        failed = f"{self.failed} failed" if self.failed else ""
        left = "" if self.total is not None and self.done >= self.total else left_text(self.left(now))
        facts = [self._count, failed, self._rate, left]
        return f"{self.name}: {', '.join(filter(None, facts))}"

    @property
    def _count(self) -> str:
        text = "/".join(self._amount(value) for value in (self.done, self.total) if value is not None)
        return text if self.unit == BYTES else f"{text} {self.unit}"

    @property
    def _rate(self) -> str:
        rate = self._meter.rate
        if rate is None:
            return ""
        return f"{self._amount(rate)}/s" if self.unit == BYTES else rate_text(rate)

    def _amount(self, value: float) -> str:
        if self.unit != BYTES:
            return f"{int(value):,}"
        power = max((p for p in range(4) if value >= 1000**p), default=0)
        return f"{value / 1000**power:.1f} {('B', 'kB', 'MB', 'GB')[power]}"


class Steps:
    """The steps of a job, of which one is at hand.

    Args:
        job: its name; empty if there is only one.
        names: of the steps, in their order.
        now: the time, in seconds.
    """

    def __init__(self, job: str, names: Sequence[str], now: float) -> None:
        self.job = job
        self._names = list(names)
        self.go_to(self._names[0], now)

    def go_to(self, name: str, now: float) -> None:
        """Begin a step."""
        self._at = self._names.index(name)
        self._began = self.reported = now

    @property
    def are_nearly_done(self) -> bool:
        """Whether the steps to come take seconds."""
        return all(name in BRIEF for name in self._names[self._at + 1 :])

    def bar(self, stage: float | None, left: str) -> Bar:
        """The job as a row of the terminal, with the share of the step at hand that is done."""
        share = (self._at + (stage or 0)) / len(self._names)
        name = f"job {self.job}".rstrip()
        return Bar(name, share, f"step {self._at + 1}/{len(self._names)}: {self._names[self._at]}", left=left)

    def line(self, now: float) -> str:
        """The step at hand as a line of a log, where it has no stage that is counted."""
        return f"{self._names[self._at]}: {duration_text(now - self._began)} so far"


def left_text(seconds: float | None) -> str:
    """Time left; "-" stands for a time that is not known."""
    return f"{'-' if seconds is None else duration_text(seconds)} left"
