"""The configured callbacks of fits and tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, DeviceStatsMonitor, LearningRateMonitor, ModelCheckpoint

from dovision.config.component import Component, make_each
from dovision.identity.dependencies import without_monitors
from dovision.training.schedule import check_monitor


def callbacks_of_tests(callbacks: Mapping[str, Component]) -> list[pl.Callback]:
    """Make the callbacks for a test's trainer: those that neither monitor a metric nor save epochs."""
    made = make_each(without_monitors(callbacks)).values()
    return [callback for callback in made if not isinstance(callback, Checkpoint)]


def make_callbacks(callbacks: Mapping[str, Component], folder: Path, monitors: bool = True) -> list[pl.Callback]:
    """Make the configured callbacks that a fit has."""
    made = make_each(callbacks if monitors else without_monitors(callbacks))
    for name in [name for name, callback in made.items() if isinstance(callback, ModelCheckpoint)]:
        made[name] = callbacks[name].make(dirpath=folder, enable_version_counter=False)
    return list(made.values())


def best_by(callbacks: Iterable[pl.Callback], otherwise: tuple[str, str]) -> tuple[str, str]:
    """Metric and mode that select the best epoch: those of a ModelCheckpoint, if configured."""
    monitors = [
        callback for callback in callbacks if isinstance(callback, ModelCheckpoint) and callback.monitor is not None
    ]
    return (str(monitors[0].monitor), monitors[0].mode) if monitors else otherwise


def check_callbacks(callbacks: Mapping[str, Component], logged: Collection[str], has_loggers: bool) -> None:
    """Raise for callbacks that cannot be made, do not work here, lack a logger, or monitor what is not logged.

    Raises:
        ValueError: names the callback, and the metrics that there are.
    """
    for name, made in make_each(callbacks).items():
        if "dirpath" in callbacks[name] and isinstance(made, ModelCheckpoint):
            raise ValueError(f"callbacks.{name}.dirpath is not obeyed here. Checkpoints lie beside the fitted model.")
        if isinstance(made, (DeviceStatsMonitor, LearningRateMonitor)) and not has_loggers:
            raise ValueError(f"callbacks.{name} needs a logger, got none. Leave it out, or add one: logger=csv.")
        if getattr(made, "monitor", None) is not None:
            check_monitor(f"callbacks.{name}", made.monitor, logged)
