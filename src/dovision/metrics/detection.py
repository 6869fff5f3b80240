"""Detection of attacked images as a metric."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dovision import checks
from dovision.functional.detection import Scored, auroc


class DetectionAUROC(Metric):
    """Area under the ROC curve of a score that separates attacked images from clean ones, ties counted half.

    compute() is a scalar in [0, 1], float64; nan while either kind of image is missing. The area is that of all scores
    and not of some thresholds, so no sum holds enough of them: the states are lists that are concatenated, of 8 bytes
    an image, as those of torchmetrics' BinaryAUROC without thresholds. Scores may be any numbers, not only
    probabilities.

    Source: Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic curve, 1982.

    Example:
        >>> import torch
        >>> from dovision.metrics import DetectionAUROC
        >>> metric = DetectionAUROC()
        >>> metric.update(torch.tensor([5.0, 2.0, 2.0, 1.0]), torch.tensor([True, True, False, False]))
        >>> metric.compute()
        tensor(0.8750, dtype=torch.float64)
    """

    full_state_update = False
    attacked: list[Tensor]  # scores of each batch's attacked images
    clean: list[Tensor]  # scores of its clean ones

    def __init__(self) -> None:
        super().__init__()
        self.add_state("attacked", [], dist_reduce_fx="cat")
        self.add_state("clean", [], dist_reduce_fx="cat")
        self.set_dtype(torch.float64)  # that of the empty list of a device without images, too

    def update(self, score: Tensor, attacked: Tensor) -> None:
        """Take a batch into account.

        Args:
            score: the higher, the likelier attacked; shape (B,).
            attacked: True where the image was attacked, shape (B,) bool.

        Raises:
            ValueError: the shapes differ.
        """
        checks.same_shape(score=score, attacked=attacked)
        self.attacked.append(score[attacked].to(self.device, torch.float64))
        self.clean.append(score[~attacked].to(self.device, torch.float64))

    def compute(self) -> Tensor:
        attacked, clean = (_scored(states) for states in (self.attacked, self.clean))
        return torch.tensor(auroc(attacked, clean).estimate, dtype=torch.float64, device=self.device)


def _scored(states: list[Tensor] | Tensor) -> Scored:
    score = dim_zero_cat(states).cpu().numpy() if len(states) else np.empty(0)
    return Scored(score, np.zeros(len(score), np.int64))
