"""Progress of a fit in the display of the process."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from dovision.io.progress import DISPLAY, Stage


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

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        self._stage = None
        self._open.close()
