"""Detection of attacked images as a metric."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dovision.metrics._mean import PlottedMetric


class DetectionAUROC(PlottedMetric):
    """Area under the ROC curve of a score that separates attacked images from given clean ones, ties counted half.

    The area is the mean over attacked images of the share of clean images that score lower. That share follows from the
    one image once the clean scores are known, so two sums hold the area of any number of attacked images exactly; if
    clean images came in batches too, no sum could. Score the clean images first, and on several devices give each of
    them the scores of all. Scores may be any numbers, not only probabilities; nan is no score, and does not count.

    compute() is a scalar in [0, 1], float64; nan while either kind of image is missing.

    Args:
        clean: scores of the clean images, shape (N,).

    Raises:
        ValueError: the scores have another number of axes.

    Source: Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic curve, 1982.

    Example:
        >>> import torch
        >>> from dovision.metrics import DetectionAUROC
        >>> metric = DetectionAUROC(clean=torch.tensor([2.0, 1.0]))
        >>> metric.update(torch.tensor([5.0, 2.0]))
        >>> metric.compute()
        tensor(0.8750, dtype=torch.float64)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    wins: Tensor  # scalar, pairs of an attacked and a clean image: 2 where the attacked one scores higher, 1 for a tie
    count: Tensor  # scalar, attacked images

    def __init__(self, clean: Tensor | Sequence[float]) -> None:
        super().__init__()
        # no buffer, since a module that is cast to half precision would round it
        self.clean = _scores("clean", torch.as_tensor(clean, dtype=torch.float64)).sort().values
        self.add_state("wins", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, score: Tensor) -> None:
        """Add a batch of attacked images.

        Args:
            score: the higher, the likelier attacked; shape (B,).

        Raises:
            ValueError: it has another number of axes.
        """
        scores = _scores("score", score.double())
        self.clean = self.clean.to(scores.device)
        lower, not_higher = (torch.searchsorted(self.clean, scores, side=side) for side in ("left", "right"))
        self.wins += (lower + not_higher).sum().to(self.wins.device)
        self.count += len(scores)

    def compute(self) -> Tensor:
        return self.wins.double() / (2 * self.count * len(self.clean))


def _scores(name: str, score: Tensor) -> Tensor:
    """Scores of the images that have one, without nan."""
    if score.ndim != 1:
        raise ValueError(f"{name} must have shape (B,), a score an image, got {tuple(score.shape)}.")
    return score[~score.isnan()]
