"""A classifier under Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.functional.classification import binary_auroc, binary_roc
from torchmetrics.utilities import dim_zero_cat

from dovision import checks
from dovision.interfaces import Classifier
from dovision.types import Batch, Task

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class ImageClassifier(pl.LightningModule):
    """Fit a classifier to labels; `val_score` (accuracy, or mean AUROC over labels) says which epoch is kept.

    For multilabel the AUROC of each label is logged as val_auroc/<class>, and the best thresholds of the labels on the
    validation images are part of the state, so that those of an epoch come back with its weights.

    Args:
        classifier: images in [0, 1] to logits.
        optimizer: from parameters to an optimizer.
    """

    thresholds: Tensor  # (K,) for multilabel, (0,) for multiclass

    def __init__(self, classifier: Classifier, optimizer: MakeOptimizer = torch.optim.Adamax) -> None:
        super().__init__()
        self.classifier = classifier
        self.optimizer = optimizer
        self.val_score = score(classifier.task)
        self.test_score = score(classifier.task)
        labels = len(classifier.task.classes) if classifier.task.multilabel else 0
        self.register_buffer("thresholds", torch.full((labels,), 0.5))

    @property
    def fitted_task(self) -> Task:
        """The classifier's task, with the thresholds of the last validation."""
        return replace(self.classifier.task, thresholds=tuple(self.thresholds.tolist()))

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

    def on_validation_epoch_end(self) -> None:
        if not isinstance(self.val_score, LabelAUROC):
            return
        self.thresholds.copy_(self.val_score.thresholds())
        area = dict(zip(self.classifier.task.classes, self.val_score.each(), strict=True))
        known = {name: value for name, value in area.items() if value.isfinite()}
        if not known and not self.trainer.sanity_checking:
            raise ValueError(
                "the validation images must show both values of at least one label, or no epoch can be chosen, "
                f"got one value alone for each of {', '.join(area)}. Use more validation images."
            )
        self.log_dict({f"val_auroc/{name}": value for name, value in known.items()})

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        logits = self._evaluate(batch, self.test_score)
        self.log("test_score", self.test_score, batch_size=len(batch.image))
        return logits

    def _evaluate(self, batch: Batch, metric: Metric) -> Tensor:
        checks.image_batch(batch.image)
        logits = self(batch.image)
        metric.update(self.classifier.task.probability(logits), batch.label)
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.classifier.parameters())


def score(task: Task) -> Metric:
    """Accuracy for multiclass; AUROC, averaged over the labels that have one, for multilabel."""
    if task.multilabel:
        return LabelAUROC()
    return MulticlassAccuracy(num_classes=len(task.classes), average="micro")


def label_auroc(probability: Tensor, label: Tensor) -> Tensor:
    """Area under each label's ROC curve, shape (K,); nan where one value alone of the label is known.

    Args:
        probability: P(y | x), shape (B, K).
        label: zeros and ones, nan where not known, shape (B, K).
    """
    area = torch.full(label.shape[1:], torch.nan, device=label.device)
    for k, score, true in _known_labels(probability, label):
        area[k] = binary_auroc(score, true)
    return area


def thresholds(probability: Tensor, label: Tensor) -> Tensor:
    """The probability from which on to say each label, shape (K,): that of the largest Youden index, TPR - FPR.

    The largest of these if there are several; a half where one value alone of the label is known, or no threshold does
    better than chance.

    Args:
        probability: P(y | x), shape (B, K).
        label: zeros and ones, nan where not known, shape (B, K).

    Source: Youden, Index for rating diagnostic tests, Cancer 3, 1950.
    """
    cuts = torch.full(label.shape[1:], 0.5, device=label.device)
    for k, score, true in _known_labels(probability, label):
        false_positive, true_positive, cut = binary_roc(score, true)
        best = (true_positive - false_positive).argmax()
        if best > 0:  # the first says no label at all
            cuts[k] = cut[best]
    return cuts


def _known_labels(probability: Tensor, label: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Number, probabilities and values of each label of which both values are known."""
    for k in range(label.shape[1]):
        known = label[:, k].isfinite()
        true = label[known, k].long()
        if 0 < true.sum() < len(true):
            yield k, probability[known, k], true


class LabelAUROC(Metric):
    """AUROC of each label over all images; compute() is the mean over those that have one, nan if none has."""

    full_state_update = False
    probability: list[Tensor]  # (B, K) of each batch
    label: list[Tensor]  # (B, K) of each batch

    def __init__(self) -> None:
        super().__init__()
        self.add_state("probability", [], dist_reduce_fx="cat")
        self.add_state("label", [], dist_reduce_fx="cat")

    def update(self, probability: Tensor, label: Tensor) -> None:
        self.probability.append(probability.detach())
        self.label.append(label)

    def compute(self) -> Tensor:
        return self.each().nanmean()

    def each(self) -> Tensor:
        """AUROC of each label, shape (K,); nan where one value alone of the label was seen."""
        return label_auroc(dim_zero_cat(self.probability), dim_zero_cat(self.label))

    def thresholds(self) -> Tensor:
        """The threshold of each label, shape (K,)."""
        return thresholds(dim_zero_cat(self.probability), dim_zero_cat(self.label))
