"""Effects at each validation of a fit, by which ModelCheckpoint chooses an epoch."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dovision.interventions.pixel_grid import PixelGrid
from dovision.measurement.effects import EffectEvaluation
from dovision.measurement.on_validation import OnValidation
from tests.measurement.conftest import quiet_trainer

SIZE = "mean_abs_expected_effect/clean"
SLOPES = (1.0, 3.0, 2.0)  # of the epochs


class Steps(pl.LightningModule):
    """Logits (0, slope * sum of the pixels); each epoch sets another slope."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))

    def forward(self, image):
        total = self.slope * image.sum((1, 2, 3))
        return torch.stack([torch.zeros_like(total), total], 1)

    def on_train_epoch_start(self):
        self.slope.data.fill_(SLOPES[self.current_epoch])

    def training_step(self, batch, batch_idx):
        return 0 * self(batch[0]).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Noted(Callback):
    def __init__(self) -> None:
        self.sizes: list[float] = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.sizes.append(float(trainer.callback_metrics[SIZE]))


def test_a_checkpoint_is_chosen_by_the_effects_of_each_epoch(tmp_path):
    data = DataLoader(TensorDataset(torch.full((3, 1, 2, 2), 0.25), torch.ones(3).long()), 2)
    effects, noted = EffectEvaluation(PixelGrid(1, 1), tmp_path / "effects"), Noted()
    best = ModelCheckpoint(tmp_path, filename="best", monitor=SIZE, mode="max")
    trainer = quiet_trainer(
        OnValidation(effects), noted, best, max_epochs=3, default_root_dir=tmp_path, enable_checkpointing=True
    )
    trainer.fit(Steps(), data, data)
    control = torch.sigmoid(torch.tensor(SLOPES).double())  # the pixels' sum is 1, and that of a black image 0
    expected = (0.5 - control) * control + (control - 0.5) * (1 - control)
    assert noted.sizes == pytest.approx(expected.abs().tolist(), abs=1e-6)
    assert torch.load(best.best_model_path, weights_only=True)["state_dict"]["slope"] == 3
    written = {"effect_sums.parquet", "effects.parquet", "samples.parquet"}
    assert {path.name for path in (tmp_path / "effects").iterdir()} == written
