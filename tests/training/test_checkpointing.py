"""A training that was stopped goes on as if it had not been."""

from __future__ import annotations

import io
import itertools
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from dovision.interfaces import Classifier
from dovision.io import sealed
from dovision.training.checkpointing import EPOCH_FILE, Epochs
from dovision.training.image_classifier import ImageClassifier
from dovision.types import Batch, Task

EPOCHS = 4
STEPS = 3  # an epoch
CODE = {"code": "this"}


class Dots(torch.utils.data.Dataset):
    """Images of noise, some of them brighter, and that is their label."""

    def __init__(self) -> None:
        self.label = torch.arange(24) % 2
        noise = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        self.image = 0.9 * noise + 0.1 * self.label.reshape(-1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Batch:
        return Batch(self.image[index], self.label[index], torch.tensor(index), torch.tensor(index))


class Killed(BaseException):
    """What ends a training."""


class Fitting(ImageClassifier):
    """Is killed in a step, and is drawn from torch's global generator by its dropout."""

    def __init__(self, killed_in: int | None) -> None:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 2))
        super().__init__(Classifier(network, Task("multiclass", ("dark", "bright")), [0.5], [0.5]))
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


def fit(folder: Path, killed_in: int | None = None, origin: dict[str, str] = CODE) -> Fitted:
    """The command, begun in the same way each time."""
    module, shuffling = Fitting(killed_in), torch.Generator().manual_seed(0)
    epochs = Epochs(folder, "val_loss", "min", shuffling, origin)
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, callbacks=[epochs], enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    train = DataLoader(Dots(), batch_size=8, shuffle=True, generator=shuffling)
    trainer.fit(module, train, DataLoader(Dots(), batch_size=8), ckpt_path=epochs.last())
    return Fitted(epochs.best_weights, epochs.scores, epochs.best_scores, next(module.steps))


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


def test_a_training_that_was_killed_after_its_last_epoch_has_no_step_to_do(tmp_path, undisturbed):
    fit(tmp_path)
    again = fit(tmp_path)
    assert again.steps == 0
    assert same(again, undisturbed)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_file_is_told_and_the_training_begins_anew(tmp_path, undisturbed, caplog, damage):
    with pytest.raises(Killed):
        fit(tmp_path, 2 * STEPS + 1)
    data = (tmp_path / EPOCH_FILE).read_bytes()
    (tmp_path / EPOCH_FILE).write_bytes({"cut": data[: len(data) // 2], "empty": b"", "flipped": flip(data)}[damage])
    again = fit(tmp_path)
    assert again.steps == STEPS * EPOCHS
    assert same(again, undisturbed)
    assert re.search(r"epoch.ckpt (is damaged|must end with dovision's digest).* The training starts over", caplog.text)


class Malice:
    def __reduce__(self):
        return os.mkdir, ("run-by-an-epoch",)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: sealed.write_sealed(path, content)])
def test_a_planted_file_runs_nothing_and_the_training_starts_over(tmp_path, undisturbed, caplog, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write({"callbacks": Malice(), "state_dict": {}}, tmp_path / EPOCH_FILE)
    assert same(fit(tmp_path), undisturbed)
    assert "The training starts over" in caplog.text
    assert not (tmp_path / "run-by-an-epoch").exists()


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


def test_the_best_epoch_is_the_one_with_the_least_loss(undisturbed):
    losses = [scores["val_loss"] for scores in undisturbed.scores]
    assert undisturbed.best["epoch"] == 1 + losses.index(min(losses))
    assert undisturbed.best["val_loss"] == min(losses)


def test_what_ends_a_training_is_told_with_the_epoch_that_it_goes_on_from(tmp_path, caplog):
    with pytest.raises(Killed):
        fit(tmp_path, STEPS + 1)
    assert "stopped by nobody in epoch 2 of 4; the same command goes on from the start of that epoch" in caplog.text
