"""What all callbacks under `trainer.test` share: files that are closed, whatever ends the test."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from dovision.evaluation.callback import Evaluation
from dovision.interfaces import Classifier
from dovision.training.image_classifier import ImageClassifier
from dovision.types import Batch, Task

NUMBER = torch.arange(3)
ITEMS = [Batch(torch.full((1, 2, 2), 0.5), NUMBER[0], number, number) for number in NUMBER]


class File:
    """Remembers how it was closed."""

    closed: list[type[BaseException] | None]

    def __enter__(self):
        self.closed = []
        return self

    def __exit__(self, kind, error, trace):
        self.closed.append(kind)


class Looks(Evaluation):
    """Notes the numbers of the batches, and fails at one of them."""

    def __init__(self, classifier: Classifier, fails_at: int | None) -> None:
        super().__init__(classifier)
        self.fails_at = fails_at
        self.file = File()
        self.seen: list[int] = []

    def on_test_start(self, trainer, pl_module):
        assert self.opened(self.file) is self.file

    def measure(self, batch, logits, batch_idx, dataloader_idx):
        if batch_idx == self.fails_at:
            raise ArithmeticError
        torch.testing.assert_close(logits, self.logits(batch.image))
        self.seen.append(batch_idx)


def looked(fails_at: int | None) -> Looks:
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), Task("multiclass", ("a", "b")), [0.0], [1.0])
    looks = Looks(classifier, fails_at)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[looks],
    )  # fmt: skip
    try:
        trainer.test(ImageClassifier(classifier), DataLoader(ITEMS), verbose=False)
    except ArithmeticError:
        assert fails_at is not None
    return looks


@pytest.mark.parametrize(("fails_at", "closed"), [(None, None), (1, ArithmeticError)])
def test_what_was_opened_is_closed_once_and_told_what_ended_the_test(fails_at, closed):
    looks = looked(fails_at)
    assert looks.file.closed == [closed]
    assert looks.seen == ([0, 1, 2] if fails_at is None else [0])
