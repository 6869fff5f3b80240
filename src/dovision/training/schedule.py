"""The schedule of a fit's step size: a scheduler of torch, and when it is stepped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dovision import checks

MakeScheduler = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]


class Schedule:
    """Scheduler in Lightning's form.

    Args:
        scheduler: from an optimizer to a scheduler of torch.optim.lr_scheduler.
        interval: what a step of it is, an epoch or a step of the optimizer.
        frequency: how many of these lie between two of its steps.
        monitor: the metric that ReduceLROnPlateau looks at; None for any other scheduler.

    Raises:
        ValueError: there is no such interval, or another scheduler than ReduceLROnPlateau has a monitor.
    """

    def __init__(
        self, scheduler: MakeScheduler, interval: str = "epoch", frequency: int = 1, monitor: str | None = None
    ) -> None:
        self.scheduler = checks.function("scheduler", scheduler, "a scheduler with _partial_: true")
        self.interval = checks.choice("interval", interval, ("epoch", "step"))
        self.frequency = checks.positive_int("frequency", frequency)
        self.monitor = monitor
        made = getattr(scheduler, "func", scheduler)
        self.needs_monitor = isinstance(made, type) and issubclass(made, ReduceLROnPlateau)
        if self.needs_monitor and interval == "step":
            raise ValueError("interval must be epoch for ReduceLROnPlateau, which looks at a metric, got 'step'.")
        if monitor is not None and not self.needs_monitor:
            raise ValueError(f"monitor is looked at by ReduceLROnPlateau alone, got {monitor!r}. Set it to null.")

    def check(self, where: str, logged: Collection[str]) -> None:
        """Raise for a monitor that is not logged."""
        if self.needs_monitor:
            check_monitor(where, self.monitor, logged)

    def of(self, optimizer: Optimizer) -> dict[str, Any]:
        """Dictionary for `configure_optimizers`."""
        config = {"scheduler": self.scheduler(optimizer), "interval": self.interval, "frequency": self.frequency}
        return {**config, "monitor": self.monitor, "strict": False, "name": "lr"}


def check_monitor(where: str, monitor: object, logged: Collection[str]) -> None:
    """Raise unless a metric of this name is logged.

    Raises:
        ValueError: names those that there are, and the nearest one.
    """
    if monitor not in logged:
        got = "none" if monitor is None else repr(monitor)
        near = "" if monitor is None else checks.suggestion(str(monitor), logged)
        raise ValueError(
            f"{where}.monitor must name a metric that the fit logs, got {got}.{near} They are: "
            f"{checks.listed(list(logged))}."
        )
