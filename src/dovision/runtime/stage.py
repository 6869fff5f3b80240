"""Stages of a job, whose progress is counted and timed, and the steps that a job consists of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

BYTES = "bytes"  # the unit that is written as kB, MB or GB
BRIEF = ("detector fits", "summary")  # steps of a job that take seconds, which its time left leaves out
_WINDOW = 30.0  # seconds that a rate is measured over at least, so that it does not follow the parts of a batch
_MARKS = 128  # measurements that a meter holds at most
_PERIODS = ((1, "s"), (60, "min"), (3600, "h"))
_OVERDUE = 9  # a step that takes longer than expected is taken to be nine tenths done


class Bar(NamedTuple):
    """Row of a progress display: name, share done (None: unknown), and texts."""

    name: str
    share: float | None
    amount: str  # done, of how much
    failed: int = 0  # of the amount
    rate: str = ""
    left: str = ""


class RateMeter:
    """Estimate of the remaining time from the later half of the work done.

    What was done before the meter is no measurement: a resumed count does not make the rest look fast. The first half
    is left out, once the rest has taken half a minute: it holds what is done once, such as a fit that jobs share.
    """

    def __init__(self, done: float, now: float) -> None:
        self._marks = [(now, done)]
        self._step = 0.0  # work between the last two marks

    def update(self, done: float, now: float) -> None:
        """Record the amount done by now; ignored without progress."""
        last = self._marks[-1][1]
        if done > last:
            self._step = done - last
            self._marks.append((now, done))
        if len(self._marks) > _MARKS:
            self._marks = [*self._marks[:-1:2], self._marks[-1]]

    @property
    def rate(self) -> float | None:
        """Work per second; None before the first measurement."""
        start, (end, last) = self._marks[0], self._marks[-1]
        middle = (start[1] + last) / 2
        begin, first = max((m for m in self._marks if m[1] <= middle and m[0] <= end - _WINDOW), default=start)
        return (last - first) / (end - begin) if last > first and end > begin else None

    def left(self, total: float, now: float) -> float | None:
        """Seconds until `total` is done; None if unknown or done.

        The time falls while the step at hand is under way, and never to zero: a step that is late makes it rise.
        """
        end, last = self._marks[-1]
        rate = self.rate
        if rate is None or last >= total:
            return None
        step, silence = min(self._step, total - last), now - end
        return (total - last - step) / rate + max(step / rate - silence, silence / _OVERDUE)


class Stage:
    """Counted piece of work; counting is an addition, cheap enough for each batch.

    `total` is None if it is not known (yet); `done` was done before, such as by a run that is resumed.
    """

    def __init__(self, name: str, unit: str, total: float | None, done: float, now: float) -> None:
        self.name = name
        self.unit = unit
        self.total = total
        self.done = done
        self.failed = 0  # of those done
        self.began = self.reported = now  # the latter: the time of the last line
        self._meter = RateMeter(done, now)

    def advance(self, count: float = 1) -> None:
        """Add to the count."""
        self.done += count

    def measure(self, now: float) -> None:
        """Update the rate."""
        self._meter.update(self.done, now)

    def left(self, now: float) -> float | None:
        """Seconds remaining; None if unknown."""
        return None if self.total is None else self._meter.left(self.total, now)

    @property
    def is_done(self) -> bool:
        """Return whether all is counted; what follows in its block is not."""
        return self.total is not None and self.done >= self.total

    @property
    def share(self) -> float | None:
        """Share done; None if unknown."""
        return min(self.done / self.total, 1.0) if self.total else None

    def bar(self, left: str) -> Bar:
        """Terminal row of the stage, with the text of the remaining time."""
        return Bar(self.name, self.share, self._count, self.failed, self._rate, left)

    def line(self, now: float) -> str:
        """Log line of the stage."""
        failed, left = f"{self.failed} failed" if self.failed else "", self.left(now)
        time = f"{duration_text(now - self.began)} so far" if left is None else left_text(left)
        texts = [self._count, failed, self._rate, "" if self.is_done else time]
        return f"{self.name}: {', '.join(filter(None, texts))}"

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
    """Steps of a job, one of them current."""

    def __init__(self, job: str, names: Sequence[str], now: float) -> None:
        self.job = job
        self._names = list(names)
        self.go_to(self._names[0], now)

    def go_to(self, name: str, now: float) -> None:
        """Begin a step."""
        self._at = self._names.index(name)
        self.began = self.reported = now

    @property
    def are_nearly_done(self) -> bool:
        """Return whether the remaining steps take only seconds."""
        return all(name in BRIEF for name in self._names[self._at + 1 :])

    def bar(self, stage: float | None, left: str) -> Bar:
        """Terminal row of the job, with the done share of the current step."""
        share = (self._at + (stage or 0)) / len(self._names)
        name = f"job {self.job}".rstrip()
        return Bar(name, share, f"step {self._at + 1}/{len(self._names)}: {self._names[self._at]}", left=left)

    def line(self, now: float) -> str:
        """Log line of the current step, if it has no counted stage."""
        return f"{self._names[self._at]}: {duration_text(now - self.began)} so far"


def left_text(seconds: float | None) -> str:
    """Remaining time as text; "-" if unknown."""
    return f"{'-' if seconds is None else duration_text(seconds)} left"


def rate_text(rate: float) -> str:
    """Work per second, minute or hour: the first of these that is at least one."""
    seconds, name = next((period for period in _PERIODS if rate * period[0] >= 1), _PERIODS[-1])
    return f"{rate * seconds:{',.0f' if rate * seconds >= 10 else '.1f'}}/{name}"


def duration_text(seconds: float) -> str:
    """Hours, minutes and seconds, rounded up, such as 0:04:07; never 0:00:00."""
    whole = max(1, math.ceil(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
