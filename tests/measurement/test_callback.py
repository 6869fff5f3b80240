"""What all callbacks under `trainer.test` share: files that are closed, whatever ends the test."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dovision.interfaces import Classifier
from dovision.measurement.callback import ClassifierUnderTest, Evaluation
from dovision.training.image_classifier import ImageClassifier
from dovision.types import Batch, Task
from tests.measurement.conftest import quiet_trainer

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

    def start(self, trainer, pl_module, batch):
        assert self.opened(self.file) is self.file

    def measure(self, batch, logits, dataloader_idx):
        if batch.sample.item() == self.fails_at:
            raise ArithmeticError
        torch.testing.assert_close(logits, self.logits(batch.image))
        self.seen += batch.sample.tolist()


def looked(fails_at: int | None) -> Looks:
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), Task("multiclass", ("a", "b")), [0.0], [1.0])
    looks = Looks(classifier, fails_at)
    trainer = quiet_trainer(looks)
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


class Sum(nn.Module):
    """Logits (0, sum of the pixels - 2)."""

    def forward(self, image):
        total = image.sum((1, 2, 3)) - 2
        return torch.stack([torch.zeros_like(total), total], 1)


class Foreign(pl.LightningModule):
    """Anybody's module, of images that were normalised by mean .5 and std .25; its `test_step` returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Sum()

    def forward(self, image):
        return self.network(0.25 * image + 0.5)

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        assert len(batch) == 2


class WithClassifier(Foreign):
    """Has a classifier of images in [0, 1] as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = Classifier(self.network, Task("multiclass", ("dark", "bright")), [0.0], [1.0])


class WithLoss(Foreign):
    """Returns a loss, as most do."""

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        return {"loss": self(batch[0]).sum()}


class Collects(Evaluation):
    """Keeps logits and images, and logs their number."""

    def start(self, trainer, pl_module, batch):
        self.found: list[tuple[Batch, torch.Tensor]] = []

    def measure(self, batch, logits, dataloader_idx):
        self.found.append((batch, logits))

    def numbers(self):
        return {"images/all": torch.tensor(float(self.tested)), "images/none": torch.tensor(torch.nan)}


IMAGE = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def collected(module, *, loaders=1, inference_mode=False, normalised=True, **settings):
    callback = Collects(**settings)
    trainer = quiet_trainer(callback, inference_mode=inference_mode)
    image = (IMAGE - 0.5) / 0.25 if normalised else IMAGE
    loader = DataLoader(TensorDataset(image, (IMAGE.sum((1, 2, 3)) > 2).long()), 2)
    logged = trainer.test(module, [loader] * loaders if loaders > 1 else loader, verbose=False)
    return callback, logged[0]


NORMALISED = {"mean": [0.5], "std": [0.25]}


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (Foreign(), NORMALISED),
        (WithLoss(), NORMALISED),
        (Foreign(), {**NORMALISED, "task": Task("multiclass", ("dark", "bright"))}),
        (Foreign(), {**NORMALISED, "classifier": Classifier(Sum(), Task("multiclass", ("a", "b")), [0.0], [1.0])}),
        (WithClassifier(), NORMALISED),
        (WithClassifier(), {"normalised": False}),
    ],
)
def test_the_classifier_is_found_in_anybodys_module(module, settings):
    callback, logged = collected(module, **settings)
    image, logits = (
        torch.cat([batch.image for batch, _ in callback.found]),
        torch.cat([out for _, out in callback.found]),
    )
    torch.testing.assert_close(image, IMAGE)
    torch.testing.assert_close(logits, Sum()(IMAGE))
    assert len(callback.classifier.task.classes) == 2
    assert logged == {"images/all": 5.0}


CLASSIFIER = Classifier(Sum(), Task("multiclass", ("few", "many")), [0.0], [1.0])


@pytest.mark.parametrize(
    ("module", "settings"),
    [(Foreign(), NORMALISED), (ClassifierUnderTest(CLASSIFIER), {"classifier": CLASSIFIER, **NORMALISED})],
    ids=["anybody's", "own"],
)
def test_numbers_reach_loggers_and_the_metrics_of_the_trainer(tmp_path, module, settings):
    callback, logger = Collects(**settings), pl.loggers.CSVLogger(tmp_path)
    trainer = quiet_trainer(callback, logger=logger)
    trainer.test(module, DataLoader(TensorDataset((IMAGE - 0.5) / 0.25, torch.zeros(5).long())), verbose=False)
    assert trainer.callback_metrics["images/all"] == 5
    logger.save()
    assert "images/all" in (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"inference_mode": True},
            r"Collects needs gradients, .* Set inference_mode=False: pl.Trainer\(inference_mode=F",
        ),
        ({"loaders": 2}, "Collects needs dataloaders: 1, got 2"),
        ({}, r"images must lie in \[0, 1\], got"),  # images are normalised, and it was not told how
        ({**NORMALISED, "task": "multilabel"}, "labels must be of shape \\(2, 2\\) for a multilabel task"),
        ({"classifier": Sum()}, "classifier must be a Classifier, as wrap makes one"),
    ],
)
def test_a_test_that_cannot_be_measured_is_refused_in_a_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        collected(Foreign(), **settings)
