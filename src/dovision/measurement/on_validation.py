"""Effects at each validation of a fit, where ModelCheckpoint and EarlyStopping can monitor them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from dovision.measurement.callback import Evaluation


class OnValidation(Callback):
    """Run a `trainer.test` callback at each validation, on the validation dataloader.

    Its numbers have the same names, such as mean_abs_expected_effect/clean, and its tables are those of the last
    validation. The validation that Lightning tries before a fit is left out.

    Args:
        evaluation: such as EffectEvaluation; it is not itself among the trainer's callbacks.

    Example:
        >>> import tempfile
        >>> import dovision as dv
        >>> effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), tempfile.mkdtemp())
        >>> dv.OnValidation(effects).evaluation is effects
        True
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.evaluation.begin(trainer, trainer.val_dataloaders)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            self.evaluation.on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.evaluation.on_test_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.evaluation.on_test_end(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.evaluation.on_exception(trainer, pl_module, exception)
