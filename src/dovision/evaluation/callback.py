"""The base of the callbacks under `trainer.test`: a method for a batch, and files closed whatever ends the test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from dovision.evaluation.condition import Condition
from dovision.functional.logit_checks import finite
from dovision.interfaces import Classifier
from dovision.runtime.progress import DISPLAY
from dovision.runtime.stage import Stage
from dovision.types import Batch

_T = TypeVar("_T")


class Evaluation(Callback, ABC):
    """A callback that measures something on each test batch and writes it to files.

    A subclass extends `on_test_start`, opens its files there, by `opened`, and writes `measure`. The files get their
    names when the test is over; an exception that ends it, a signal's included, leaves none that looks complete.

    The module under test returns its logits, shape (B, K), from `test_step`.

    Args:
        classifier: the one under test.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.images = 0  # of the dataloaders, on this device
        self.tested = 0  # of these, those that a batch has brought
        self._open = ExitStack()

    @abstractmethod
    def measure(self, batch: Batch, logits: Tensor, batch_idx: int, dataloader_idx: int) -> None:
        """Measure a batch, and write the rows.

        Args:
            batch: of the dataloader.
            logits: of the classifier under test, shape (B, K).
            batch_idx, dataloader_idx: the number of the batch in its dataloader, and that of the dataloader.
        """

    def opened(self, context: AbstractContextManager[_T]) -> _T:
        """Enter a context that ends with the test."""
        return self._open.enter_context(context)

    def stage(self, name: str, unit: str, total: float | None = None, done: float = 0) -> Stage:
        """A stage of the display that ends with the test; arguments as those of `Stage`."""
        return self.opened(DISPLAY.stage(name, unit, total, done))

    @property
    def lost(self) -> int:
        """Number of images of this device's dataloaders that no batch has brought, as under a limit of the trainer."""
        return self.images - self.tested

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loaders = trainer.test_dataloaders
        loaders = loaders if isinstance(loaders, list) else [loaders]
        self.images, self.tested = sum(len(loader.dataset) for loader in loaders), 0

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.measure(batch, finite(outputs, "logits"), batch_idx, dataloader_idx)
        self.tested += len(batch.image)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._open.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._open.__exit__(type(exception), exception, exception.__traceback__)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """Of the classifier under test, shape (B, K), from images, shape (B, C, H, W)."""
        return self.classifier(image)

    def condition(self, attack: str, eps: float, batch: Batch, logits: Tensor) -> Condition:
        """The condition of a batch of that attack and epsilon, with logits, shape (B, K), on it."""
        return Condition(attack, eps, batch, logits, self.correct(logits, batch))

    def correct(self, logits: Tensor, batch: Batch) -> Tensor:
        """True where logits, shape (B, K), predict the labels of the batch; shape (B,) bool, on the CPU."""
        task = self.classifier.task
        return task.correct(task.probability(logits), batch.label).cpu()


def round_to_8_bits(image: Tensor) -> Tensor:
    """The image as a file of 8 bits a channel would keep it."""
    return (image * 255).round() / 255
