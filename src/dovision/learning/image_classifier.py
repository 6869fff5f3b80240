"""A classifier under Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MultilabelAUROC

from dovision import checks
from dovision.contracts import Batch, Classifier, Task

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class ImageClassifier(pl.LightningModule):
    """Fit a classifier to labels; `val_score` (accuracy, or mean AUROC over labels) says which epoch is kept.

    Args:
        classifier: images in [0, 1] to logits.
        optimizer: from parameters to an optimizer.
    """

    def __init__(self, classifier: Classifier, optimizer: MakeOptimizer = torch.optim.Adamax) -> None:
        super().__init__()
        self.classifier = classifier
        self.optimizer = optimizer
        self.val_score = score(classifier.task)
        self.test_score = score(classifier.task)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(image)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.classifier.task.loss(self(batch.image), batch.label).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.image))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self._evaluate(batch, self.val_score)
        loss = self.classifier.task.loss(logits, batch.label).mean()
        self.log("val_loss", loss, batch_size=len(batch.image))
        self.log("val_score", self.val_score, prog_bar=True, batch_size=len(batch.image))

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self._evaluate(batch, self.test_score)
        self.log("test_score", self.test_score, batch_size=len(batch.image))
        return logits

    def _evaluate(self, batch: Batch, metric: Metric) -> Tensor:
        checks.image_batch(batch.image)
        logits = self(batch.image)
        metric.update(self.classifier.task.probability(logits), batch.label.long())
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.classifier.parameters())


def score(task: Task) -> Metric:
    """Accuracy for multiclass; AUROC, averaged over the labels, for multilabel."""
    if task.multilabel:
        return MultilabelAUROC(num_labels=len(task.classes))
    return MulticlassAccuracy(num_classes=len(task.classes), average="micro")
