"""The epochs of a training: a stopped one goes on after its last whole epoch, and in the end the best one is chosen."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from dovision.io import sealed
from dovision.io.signals import Stopped
from dovision.io.text_files import write_text

log = logging.getLogger(__name__)
EPOCH_FILE = "epoch.ckpt"


class Epochs(Checkpoint):
    """Checkpoint of a training's last epoch, to continue bit for bit, with the best epoch's weights.

    Lightning's checkpoint holds the weights, the optimizer and the count; this adds what the next epochs draw from, the
    scores so far and the best weights. A ModelCheckpoint keeps the best epoch in a second file, which a kill between
    the two leaves at odds with the last one; it writes the optimizer's state twice an epoch; and its state holds
    absolute paths, so that it forgets the best epoch of a moved folder.

    Args:
        folder: of epoch.ckpt, which holds the last epoch, and of epochs.csv, which holds the scores of all.
        monitor: the score that says which epoch is the best; of equal ones the first.
        mode: max or min.
        origin: what the numbers depend on besides the folder; epochs of another origin are not taken up.
    """

    def __init__(self, folder: Path, monitor: str, mode: str, origin: Mapping[str, str]) -> None:
        self.folder = folder
        self.monitor = monitor
        self.sign = 1 if mode == "max" else -1
        self.origin = dict(origin)
        self.scores: list[dict[str, float]] = []
        self.best_scores: dict[str, float] = {}
        self.best_weights: dict[str, Tensor] = {}
        self._drawn: dict[str, Any] = {}  # states of the global generators, to be restored
        self._stopped = False  # whether another callback has ended the fit

    def last(self) -> Path | None:
        """File of the last complete epoch; None, with a log line, if damaged or of another origin."""
        path = self.folder / EPOCH_FILE
        if not path.exists():
            return None
        try:
            content = sealed.read_sealed(path)
        except ValueError as error:
            log.warning("%s The training restarts.", error)
            return None
        state = content.get("callbacks", {}).get(self.state_key, {}) if isinstance(content, dict) else {}
        if state.get("origin") != self.origin:
            log.warning("%s was written by other code or another torch; the training restarts", path)
            return None
        return path

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        trainer.strategy.checkpoint_io = SealedIO()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if checkpoint["callbacks"].get(self.state_key, {}).get("stopped"):
            trainer.should_stop = True  # which Lightning forgets, and fits another epoch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.scores:
            self._step_plateaus(trainer, pl_module)
            log.info("resuming after epoch %d of %d", len(self.scores), trainer.max_epochs)
            torch.set_rng_state(self._drawn["cpu"])
            if torch.cuda.is_available() and self._drawn["cuda"]:
                torch.cuda.set_rng_state_all(self._drawn["cuda"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._add_epoch(trainer, pl_module)
        table = pd.DataFrame(self.scores, index=pd.RangeIndex(1, 1 + len(self.scores), name="epoch"))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "epochs.csv", table.to_csv())  # first, since no later start writes it again
        trainer.save_checkpoint(self.folder / EPOCH_FILE)
        log.info("epoch %d of %d: %s", trainer.current_epoch + 1, trainer.max_epochs, scores_text(self.scores[-1]))
        if self._stopped:
            log.info("stopped early after epoch %d", trainer.current_epoch + 1)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, Stopped):
            exception.where = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"

    def state_dict(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "origin": self.origin,
            "scores": self.scores,
            "stopped": self._stopped,
            "best_scores": self.best_scores,
            "best_weights": self.best_weights,
            "drawn": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the best weights once: if this epoch is the best, its state has the same tensors."""
        if self.best_scores.get("epoch") == trainer.current_epoch + 1:
            checkpoint["state_dict"].update(self.best_weights)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scores = state_dict["scores"]
        self.best_scores = state_dict["best_scores"]
        self.best_weights = state_dict["best_weights"]
        self._drawn = state_dict["drawn"]

    def _add_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the scores of the ending epoch, and its weights if best."""
        self._stopped = trainer.should_stop
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.scores.append(scores)
        best = self.best_scores.get(self.monitor, math.nan)
        if math.isnan(best) or self.sign * scores[self.monitor] > self.sign * best:
            self.best_scores = {**scores, "epoch": trainer.current_epoch + 1}
            self.best_weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def _step_plateaus(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Step plateau schedulers on the last epoch's metrics, which Lightning does only after saving."""
        for config in trainer.lr_scheduler_configs:
            due = config.reduce_on_plateau and len(self.scores) % config.frequency == 0
            if due and config.monitor in self.scores[-1]:
                pl_module.lr_scheduler_step(config.scheduler, torch.tensor(self.scores[-1][config.monitor]))


class SealedIO(TorchCheckpointIO):
    """Checkpoint input and output for Lightning, with a digest, and tensors and plain types only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        sealed.write_sealed(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return sealed.read_sealed(path)


def scores_text(scores: Mapping[str, float]) -> str:
    """Format the scores of a fit in a line, ordered by name."""
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(scores.items()))
