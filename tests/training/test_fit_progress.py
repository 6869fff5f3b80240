import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from dovision.io.progress import DISPLAY
from dovision.training.trainer import FitProgress

BATCHES, EPOCHS = 5, 3


class Line(pl.LightningModule):
    """A line through points, of which the last batch of an epoch notes how the display stands."""

    def __init__(self, stops_at=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.stops_at = stops_at
        self.seen = []

    def training_step(self, batch, index):
        if (self.current_epoch, index) == self.stops_at:
            raise KeyError("stopped")
        if index == BATCHES - 1:
            self.seen.append(DISPLAY.line().partition(" in ")[0])
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, folder, path=None):
    points = DataLoader(TensorDataset(torch.ones(2 * BATCHES, 1)), batch_size=2)
    one = DataLoader(TensorDataset(torch.ones(1, 1)))
    checkpoint = pl.callbacks.ModelCheckpoint(folder, filename="last")
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, callbacks=[FitProgress(), checkpoint],
        num_sanity_val_steps=0, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, points, one, ckpt_path=path)


def epochs(*numbers):
    return [f"fit, epoch {number}/{EPOCHS}: {number * BATCHES - 1}/{EPOCHS * BATCHES} batches" for number in numbers]


def test_a_fit_is_a_stage_that_counts_the_batches_of_all_epochs(tmp_path):
    module = Line()
    fit(module, tmp_path)
    assert module.seen == epochs(1, 2, 3)
    assert DISPLAY.line() == ""


def test_a_fit_that_is_resumed_counts_from_where_it_was(tmp_path):
    with pytest.raises(KeyError):
        fit(Line(stops_at=(2, 1)), tmp_path)
    assert DISPLAY.line() == ""
    module = Line()
    fit(module, tmp_path, tmp_path / "last.ckpt")
    assert module.seen == epochs(3)
