"""Lightning's trainer as this project uses it: what a configuration may give it, and which settings limit a run."""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from operator import attrgetter
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.loggers import Logger

from dovision.config.component import Component
from dovision.io.progress import DISPLAY, Stage

log = logging.getLogger(__name__)
DEVICES = ("accelerator", "devices", "strategy", "precision")  # keys that may not fit the machine, or each other
LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches")  # batches, or a share of them
OFF_AT_ZERO = ("overfit_batches", "fast_dev_run")  # limits that are off where they are zero


def make_trainer(
    configured: Component, callbacks: Sequence[Callback], loggers: Sequence[Logger] = (), **settings: Any
) -> pl.Trainer:
    """Make Lightning's trainer; the display shows fits unless a callback is a progress bar.

    Raises:
        ValueError: Lightning refuses a setting, as that of an accelerator that is not there; or a limit leaves nothing.
    """
    bars: list[Callback] = [] if any(isinstance(callback, ProgressBar) for callback in callbacks) else [FitProgress()]
    reports: list[Callback] = [ProfileReport()] if configured.get("profiler") else []
    _check_limits(configured)
    plumbing = _few_batches(configured.replaced(**settings))
    try:
        return plumbing.make(callbacks=[*callbacks, *bars, *reports], logger=list(loggers))
    except ValueError as error:
        got, reason = ", ".join(f"{key}={plumbing[key]}" for key in DEVICES), str(error).removeprefix("trainer: ")
        remedy = "" if "precision" in reason.lower() else " trainer.accelerator=cpu runs on any machine."
        raise ValueError(
            f"trainer is refused by Lightning, got {got}: {reason.rstrip('.!')}.{remedy}"
        ) from error.__cause__


def limits(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a trainer that limit a fit or test to fewer batches, by full name."""
    shares = {key: trainer[key] for key in LIMITS if key in trainer}
    limiting = {
        key: share for key, share in shares.items() if not (isinstance(share, float) and share == 1)
    }  # 1 is one
    limiting |= {key: trainer[key] for key in OFF_AT_ZERO if trainer.get(key)}
    return {f"trainer.{key}": value for key, value in limiting.items()}


def limits_in_words(limiting: Mapping[str, Any]) -> str:
    """Format limits as on a command line."""
    return " ".join(f"{key}={value}" for key, value in limiting.items())


class NamedLogger(Logger):
    """Logger of the job that prefixes a fit's metrics with the network's name; the job closes it."""

    def __init__(self, network: str, logger: Logger) -> None:
        super().__init__()
        self.network = network
        self.logger = logger

    name = property(attrgetter("logger.name"))
    version = property(attrgetter("logger.version"))
    save_dir = property(attrgetter("logger.save_dir"))
    experiment = property(attrgetter("logger.experiment"))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log network/metric of each metric."""
        self.logger.log_metrics({f"{self.network}/{name}": value for name, value in metrics.items()}, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the hyperparameters below the network's name."""
        values = vars(params) if isinstance(params, Namespace) else params
        self.logger.log_hyperparams({self.network: values}, *args, **kwargs)

    def save(self) -> None:
        """Flush pending entries."""
        self.logger.save()


class FitProgress(ProgressBar):
    """Callback that shows a fit's epoch and batches as a stage of the display.

    It takes the place of Lightning's own bar, on a terminal and without one. Tests have stages of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stage: Stage | None = None
        self._open = ExitStack()
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (self._enabled and trainer.is_global_zero):
            return
        batches, epochs = self.total_train_batches, trainer.max_epochs or -1
        total = batches * epochs if epochs > 0 and math.isfinite(batches) else None
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1  # of a fit that is resumed
        self._stage = self._open.enter_context(DISPLAY.stage("fit", "batches", total, done))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._stage is not None:
            epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
            self._stage.update(description=f"fit, epoch {trainer.current_epoch + 1}{epochs}")

    def on_train_batch_end(self, *_: Any) -> None:
        if self._stage is not None:
            self._stage.advance()

    def on_train_end(self, *_: Any) -> None:
        self._stage = None
        self._open.close()

    on_exception: Any = on_train_end


class ProfileReport(Callback):
    """Callback that logs the profiler's summary after a fit or test; Lightning's own is silenced."""

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        log.info("%s", trainer.profiler.summary())  # type: ignore[attr-defined]


def _check_limits(trainer: Mapping[str, Any]) -> None:
    for key in LIMITS:
        if trainer.get(key) == 0:
            raise ValueError(
                f"trainer.{key} must leave a batch, got {trainer[key]!r}. Set a number of batches, or a share of them."
            )


def _few_batches(trainer: Component) -> Component:
    """Expand `fast_dev_run` into trainer settings, since Lightning's own also disables checkpoints."""
    batches = int(trainer.get("fast_dev_run") or 0)
    if not batches:
        return trainer
    epochs = {"max_epochs": min(1, trainer["max_epochs"])} if "max_epochs" in trainer else {}
    return trainer.replaced(fast_dev_run=False, num_sanity_val_steps=0, **dict.fromkeys(LIMITS, batches), **epochs)
