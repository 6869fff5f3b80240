"""The part that all fits share: optimizer, schedule of the step size, and the log of steps."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from dovision import checks
from dovision.training.schedule import Schedule
from dovision.types import Batch

log = logging.getLogger(__name__)
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


class FittedModule(pl.LightningModule):
    """LightningModule with optimizer, schedule and warm-up as arguments.

    A subclass names the parameters, the metrics that it logs, and the one by which the best epoch is chosen; its
    `training_step` returns `self.logged_loss(...)`. The means of an epoch are logged as train_<name>; every
    `log_every_n_steps` steps loggers get train_loss_step and lr. Numbers among the arguments are
    hyperparameters by their names, and come back with a checkpoint.

    Args:
        optimizer: from parameters to an optimizer.
        schedule: of the step size; None: as the optimizer has it.
        warmup_steps: steps over which the step size rises linearly to what optimizer and schedule make it.
    """

    best_by: tuple[str, str]  # the metric by which the best epoch is chosen, and whether its min or its max is best

    def __init__(self, optimizer: MakeOptimizer, schedule: Schedule | None = None, warmup_steps: int = 0) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.schedule = schedule
        self.warmup_steps = checks.count("warmup_steps", warmup_steps)
        self._epoch = EpochMeans()
        self.save_hyperparameters({"warmup_steps": warmup_steps}, logger=False)

    @abstractmethod
    def fitted_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters for the optimizer."""

    def finish(self) -> None:
        """Complete the network after its fit, with the weights of the best epoch; nothing by default."""

    @property
    @abstractmethod
    def logged(self) -> list[str]:
        """Names of metrics that callbacks and schedules can monitor."""

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.fitted_parameters())
        if self.schedule is None:
            self._scale(optimizer, self._warmth(0))
            return optimizer
        configured = {"optimizer": optimizer, "lr_scheduler": self.schedule.of(optimizer)}
        self._scale(optimizer, self._warmth(0))
        return configured

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        step = self.trainer.global_step
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._scale(optimizer, self._warmth(step + 1) / self._warmth(step))

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler on the unscaled step size, as warm-up would interfere with some."""
        warmth = self._warmth(self.trainer.global_step)
        self._scale(scheduler.optimizer, 1 / warmth)
        super().lr_scheduler_step(scheduler, metric)
        self._scale(scheduler.optimizer, warmth)

    def _warmth(self, step: int) -> float:
        """Warm-up factor of the step size at a step, counted from 0."""
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    @staticmethod
    def _scale(optimizer: Any, factor: float) -> None:
        if factor != 1:
            for group in optimizer.param_groups:
                group["lr"] *= factor

    def on_train_epoch_start(self) -> None:
        self._epoch = EpochMeans()

    def logged_loss(self, batch: Batch, loss: Tensor, **terms: Tensor) -> Tensor:
        """Loss of a batch, a scalar; adds it and its terms to the epoch's means."""
        self._epoch.add(len(batch.image), loss, terms)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not self.trainer.loggers or (self.trainer.global_step + 1) % every:
            return
        rate = float(optimizer.param_groups[0]["lr"])
        metrics = {"train_loss_step": self._epoch.last.item(), "lr": rate}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=self.trainer.global_step)

    def on_train_epoch_end(self) -> None:
        self.log_dict({f"train_{name}": value for name, value in self._epoch.means().items()})


class EpochMeans:
    """Means over an epoch's images, summed on the device without synchronisation."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._images = 0

    def add(self, images: int, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        self.last = loss.detach()
        self._images += images
        for name, value in {**terms, "loss": loss}.items():
            total = value.detach() * images
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def means(self) -> dict[str, Tensor]:
        return {name: total / self._images for name, total in self._sums.items()}
