"""The callback under `trainer.test`: the classifier of anybody's module, its images, and what is logged."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dovision.interfaces import Classifier
from dovision.measurement.callback import ClassifierUnderTest, Evaluation
from dovision.types import Batch, Task
from tests.measurement.conftest import quiet_trainer


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

    name = "collects"

    def tables(self):
        return {}

    def start(self, batch):
        self.found: list[tuple[Batch, torch.Tensor]] = []

    def rows(self, batch, logits, dataloader_idx):
        self.found.append((batch, logits))
        return {}

    def numbers(self):
        return {"images/all": float(self.tested), "images/none": torch.nan}


IMAGE = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def collected(module, folder, *, loaders=1, inference_mode=False, normalised=True, **settings):
    callback = Collects(folder=folder, **settings)
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
def test_the_classifier_is_found_in_anybodys_module(module, settings, tmp_path):
    callback, logged = collected(module, tmp_path, **settings)
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
def test_a_test_that_cannot_be_measured_is_refused_in_a_sentence(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        collected(Foreign(), tmp_path, **settings)
