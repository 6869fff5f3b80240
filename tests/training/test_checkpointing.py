"""A training that was stopped goes on as if it had not been."""

import io
import itertools
import re
import signal
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torchvision.transforms import v2

from dovision.interfaces import Classifier, Images, Source
from dovision.io.signals import Stopped
from dovision.training.checkpointing import EPOCH_FILE, Epochs
from dovision.training.data_module import ImageDataModule
from dovision.training.image_classifier import ImageClassifier
from dovision.training.schedule import Schedule
from dovision.types import Batch, Task
from made_trainer import quiet_trainer

EPOCHS = 4
STEPS = 3  # an epoch
CODE = {"code": "this"}


class Dots(Images):
    """Images of noise, some of them brighter, and that is their label."""

    task, shape, content = Task("multiclass", ("dark", "bright")), (1, 4, 4), "dots"

    def source(self, split: str) -> Source:
        label = torch.arange(24) % 2
        noise = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        image = 0.9 * noise + 0.1 * label.reshape(-1, 1, 1, 1)
        return Source(image.__getitem__, label, torch.arange(24))

    def source_table(self, split: str) -> pd.DataFrame:
        names = [f"{number:02d}" for number in range(24)]
        return pd.DataFrame({"name": names, "group": names})


class Killed(BaseException):
    """What ends a training."""


class Fitting(ImageClassifier):
    """Is killed in a step, and is drawn from torch's global generator by its dropout."""

    def __init__(self, killed_in: int | None, **own: Any) -> None:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 2))
        super().__init__(Classifier(network, Dots.task, [0.5], [0.5]), **own)
        self.killed_in = killed_in
        self.steps = itertools.count()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        if next(self.steps) == self.killed_in:
            raise Killed("stopped by nobody")
        return super().training_step(batch, batch_idx)


class Fitted(NamedTuple):
    weights: dict[str, torch.Tensor]
    scores: list[dict[str, float]]
    best: dict[str, float]
    steps: int


def fit(folder: Path, killed_in: int | None = None, origin: dict[str, str] = CODE, way: str = "plain") -> Fitted:
    """The command, begun in the same way each time."""
    own, callbacks, data = WAYS[way]()
    module, epochs = Fitting(killed_in, **own), Epochs(folder, "val_loss", "min", origin)
    trainer = quiet_trainer(*callbacks, epochs, max_epochs=EPOCHS, enable_checkpointing=True)
    images = ImageDataModule(Dots(), train_batch_size=8, val_batch_size=8, **data)
    trainer.fit(module, datamodule=images, ckpt_path=epochs.last())
    return Fitted(epochs.best_weights, epochs.scores, epochs.best_scores, next(module.steps))


def sgd(lr: float = 0.1) -> dict[str, Any]:
    return {"optimizer": partial(torch.optim.SGD, lr=lr, momentum=0.9)}


JITTER = v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(brightness=0.5)])
# by name: what makes the arguments of the module, the callbacks, and the arguments of the data module
WAYS: dict[str, Callable[[], tuple[dict[str, Any], list[pl.Callback], dict[str, Any]]]] = {
    "plain": lambda: ({}, [], {}),
    "cosine": lambda: (
        {
            **sgd(),
            "schedule": Schedule(partial(CosineAnnealingLR, T_max=EPOCHS)),
            "warmup_steps": 5,
            "frozen_epochs": 1,
        },
        [],
        {},
    ),
    "plateau": lambda: (
        {**sgd(2.0), "schedule": Schedule(partial(ReduceLROnPlateau, patience=0), monitor="val_loss")},
        [],
        {},
    ),
    "early": lambda: (sgd(2.0), [EarlyStopping("val_loss", patience=1, min_delta=0.5)], {}),
    "augmented": lambda: ({}, [], {"augmentation": JITTER}),
    "augmented by workers": lambda: ({}, [], {"augmentation": JITTER, "num_workers": 1}),
}


def same(one: Fitted, other: Fitted) -> bool:
    weights = all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    return weights and (one.scores, one.best) == (other.scores, other.best)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("killed_in", [(1,), (STEPS,), (STEPS + 2,), (2 * STEPS + 1, 1), (1, STEPS + 1, STEPS + 2)])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, undisturbed, killed_in):
    for step in killed_in:
        with pytest.raises(Killed):
            fit(tmp_path, step)
    last = fit(tmp_path)
    assert same(last, undisturbed)
    whole = sum(step // STEPS for step in killed_in)  # epochs that were not done again
    assert last.steps == STEPS * (EPOCHS - whole)
    assert list(pd.read_csv(tmp_path / "epochs.csv")["epoch"]) == [1, 2, 3, 4]


@pytest.mark.parametrize("killed_in", [(STEPS + 1,), (2 * STEPS, 1)])
@pytest.mark.parametrize("way", [*WAYS][1:])
def test_it_does_so_with_schedules_early_stopping_and_augmentation(tmp_path, way, killed_in):
    whole = fit(tmp_path / "whole", way=way)
    for step in killed_in:
        if step < whole.steps:
            with pytest.raises(Killed):
                fit(tmp_path / "killed", step, way=way)
    assert same(fit(tmp_path / "killed", way=way), whole)
    assert (len(whole.scores) < EPOCHS) == (way == "early")


def test_a_fit_that_was_stopped_early_and_then_killed_fits_no_further_epoch(tmp_path):
    whole = fit(tmp_path, way="early")
    again = fit(tmp_path, way="early")
    assert again.steps == 0
    assert same(again, whole)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_file_is_told_and_the_training_begins_anew(tmp_path, undisturbed, caplog, damage):
    with pytest.raises(Killed):
        fit(tmp_path, 2 * STEPS + 1)
    data = (tmp_path / EPOCH_FILE).read_bytes()
    (tmp_path / EPOCH_FILE).write_bytes({"cut": data[: len(data) // 2], "empty": b"", "flipped": flip(data)}[damage])
    again = fit(tmp_path)
    assert again.steps == STEPS * EPOCHS
    assert same(again, undisturbed)
    assert re.search(r"epoch.ckpt (is damaged|must end with dovision's digest).* The training restarts", caplog.text)


def flip(data: bytes) -> bytes:
    """The bytes with one bit turned, inside the largest tensor."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        largest = max(file.infolist(), key=lambda entry: entry.file_size)
    place = largest.header_offset + largest.file_size // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_epochs_of_other_code_are_not_taken_up(tmp_path, undisturbed, caplog):
    with pytest.raises(Killed):
        fit(tmp_path, STEPS + 1, {"code": "other"})
    assert same(fit(tmp_path), undisturbed)
    assert "written by other code or another torch" in caplog.text


def test_a_signal_that_ends_a_training_knows_the_epoch(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "Killed", lambda _: Stopped(signal.SIGINT))
    with pytest.raises(Stopped, match="stopped by SIGINT in epoch 2 of 4"):
        fit(tmp_path, STEPS + 1)
