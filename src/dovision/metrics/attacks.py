"""Attacks as metrics: how many succeed, and how many images stay right."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.metrics._mean import ImageMean


class AttackSuccess(ImageMean):
    """Success rate: share of the correctly classified clean images that are misclassified when attacked.

    compute() is a scalar in [0, 1], float64; nan if no image was right when clean.

    Source: Carlini and Wagner, Towards evaluating the robustness of neural networks, arXiv:1608.04644.

    Example:
        >>> import torch
        >>> from dovision.metrics import AttackSuccess
        >>> metric = AttackSuccess()
        >>> metric.update(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True

    def update(self, correct_clean: Tensor, correct_attacked: Tensor) -> None:
        """Add a batch.

        Args:
            correct_clean: True where the clean image is predicted rightly, shape (B,) bool.
            correct_attacked: the same of the attacked image.

        Raises:
            ValueError: the shapes differ.
        """
        checks.same_shape(correct_clean=correct_clean, correct_attacked=correct_attacked)
        self.add((~correct_attacked).double().masked_fill(~correct_clean, torch.nan))


class RobustAccuracy(ImageMean):
    """Share of images that are classified correctly both when clean and when attacked.

    compute() is a scalar in [0, 1], float64; nan before the first image.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, arXiv:1706.06083.

    Example:
        >>> import torch
        >>> from dovision.metrics import RobustAccuracy
        >>> metric = RobustAccuracy()
        >>> metric.update(torch.tensor([True, True, False, True]), torch.tensor([True, False, True, False]))
        >>> metric.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    higher_is_better = True

    def update(self, correct_clean: Tensor, correct_attacked: Tensor) -> None:
        """Add a batch.

        Args:
            correct_clean: True where the clean image is predicted rightly, shape (B,) bool.
            correct_attacked: the same of the attacked image.

        Raises:
            ValueError: the shapes differ.
        """
        checks.same_shape(correct_clean=correct_clean, correct_attacked=correct_attacked)
        self.add((correct_clean & correct_attacked).double())
