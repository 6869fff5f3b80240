"""The loss that a classifier is fitted by."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks


class ClassificationLoss(nn.Module):
    """Cross-entropy, or for multilabel the summed binary cross-entropies of known labels; mean in nats.

    Args:
        label_smoothing: share of each label that is spread evenly over all classes, or over both values of a label.

    Source: arXiv:1512.00567, section 7, for the smoothing.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = checks.within("label_smoothing", label_smoothing, 0, 1)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """A scalar, from logits, shape (B, K), and labels, shape (B,) int64, or (B, K) float, nan where not known."""
        smoothing = self.label_smoothing
        if not label.is_floating_point():
            return F.cross_entropy(logits, label, reduction="none", label_smoothing=smoothing).mean()
        target = (label * (1 - smoothing) + smoothing / 2).nan_to_num().to(logits)
        of_labels = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (of_labels * label.isfinite()).sum(-1).mean()
