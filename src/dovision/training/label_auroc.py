"""Area under the ROC curve and decision threshold of each label, over the images of which the label is known."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_roc
from torchmetrics.utilities import dim_zero_cat


class LabelAUROC(Metric):
    """AUROC of each label, or of each class against the others, over all images.

    compute() is the mean over those that have one, nan if none has.
    """

    full_state_update = False
    probability: list[Tensor]  # (B, K) of each batch
    label: list[Tensor]  # (B, K) of each batch

    def __init__(self) -> None:
        super().__init__()
        self.add_state("probability", [], dist_reduce_fx="cat")
        self.add_state("label", [], dist_reduce_fx="cat")

    def update(self, probability: Tensor, label: Tensor) -> None:
        """Add images with P(y | x), shape (B, K), and labels, shape (B, K), nan if unknown, or (B,) int64."""
        self.probability.append(probability.detach())
        self.label.append(F.one_hot(label, probability.shape[1]).float() if label.ndim == 1 else label)

    def compute(self) -> Tensor:
        return self.by_label().nanmean()

    def by_label(self) -> Tensor:
        """AUROC per label, shape (K,); nan where only one value was seen."""
        probability, label = dim_zero_cat(self.probability), dim_zero_cat(self.label)
        area = torch.full(label.shape[1:], torch.nan, device=label.device)
        for k, score, true in _known_labels(probability, label):
            area[k] = binary_auroc(score, true)
        return area

    def thresholds(self) -> Tensor:
        """Decision threshold per label, shape (K,), by the largest Youden index, TPR - FPR.

        The largest of these if there are several; a half where one value alone of the label is known, or no threshold
        does better than chance.

        Source: Youden, Index for rating diagnostic tests, Cancer 3, 1950.
        """
        probability, label = dim_zero_cat(self.probability), dim_zero_cat(self.label)
        cuts = torch.full(label.shape[1:], 0.5, device=label.device)
        for k, score, true in _known_labels(probability, label):
            false_positive, true_positive, cut = binary_roc(score, true)
            best = (true_positive - false_positive).argmax()
            if best > 0:  # the first says no label at all
                cuts[k] = cut[best]
        return cuts


def _known_labels(probability: Tensor, label: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Iterate over labels with both values known: number, probabilities and values."""
    for k in range(label.shape[1]):
        is_known = label[:, k].isfinite()
        true = label[is_known, k].long()
        if 0 < true.sum() < len(true):
            yield k, probability[is_known, k], true
