"""Rate of a piece of work and the time that is left of it, as measured so far; both as text."""

from __future__ import annotations

import math

_WINDOW = 30.0  # seconds that a rate is measured over at least, so that it does not follow the parts of a batch
_MARKS = 128  # measurements that a meter holds at most
_PERIODS = ((1, "s"), (60, "min"), (3600, "h"))
_OVERDUE = 9  # a step that takes longer than expected is taken to be nine tenths done


class RateMeter:
    """Time left of a piece of work, from what the later half of the work done took.

    What was done before the meter is no measurement: a resumed count does not make the rest look fast. The first half
    is left out, once the rest has taken half a minute: it holds what is done once, such as a fit that jobs share.

    Args:
        done: how much is done already.
        now: the time, in seconds.
    """

    def __init__(self, done: float, now: float) -> None:
        self._marks = [(now, done)]
        self._step = 0.0  # work between the last two marks

    def update(self, done: float, now: float) -> None:
        """Note how much is done by now; what is no progress is no measurement."""
        last = self._marks[-1][1]
        if done > last:
            self._step = done - last
            self._marks.append((now, done))
        if len(self._marks) > _MARKS:
            self._marks = [*self._marks[:-1:2], self._marks[-1]]

    @property
    def rate(self) -> float | None:
        """Work a second; None as long as none was measured."""
        start, (end, last) = self._marks[0], self._marks[-1]
        middle = (start[1] + last) / 2
        begin, first = max((m for m in self._marks if m[1] <= middle and m[0] <= end - _WINDOW), default=start)
        return (last - first) / (end - begin) if last > first and end > begin else None

    def left(self, total: float, now: float) -> float | None:
        """Seconds until `total` is done; None as long as nothing is known, or once it is done.

        The time falls while the step at hand is under way, and never to zero: a step that is late makes it rise.
        """
        end, last = self._marks[-1]
        rate = self.rate
        if rate is None or last >= total:
            return None
        step, silence = min(self._step, total - last), now - end
        return (total - last - step) / rate + max(step / rate - silence, silence / _OVERDUE)


def rate_text(rate: float) -> str:
    """Work a second, a minute or an hour, the first of these that is a number of at least one."""
    seconds, name = next((period for period in _PERIODS if rate * period[0] >= 1), _PERIODS[-1])
    return f"{rate * seconds:{',.0f' if rate * seconds >= 10 else '.1f'}}/{name}"


def duration_text(seconds: float) -> str:
    """Hours, minutes and seconds, rounded up, such as 0:04:07; never 0:00:00."""
    whole = max(1, math.ceil(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
