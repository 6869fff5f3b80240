"""Choice of a setting by the rows that a detector is fitted to."""

from __future__ import annotations

import torch

from dovision.detectors._estimators import best_column


def test_the_best_column_is_that_of_the_highest_auroc_and_of_equals_the_first():
    clean = torch.tensor([[0.0, 3.0, 0.0, 0.0], [1.0, 2.0, 1.0, 1.0]])
    attacked = torch.tensor([[0.5, 0.0, 5.0, 2.0], [2.0, 1.0, 2.0, 3.0]])  # AUROC .75, 0, 1 and 1
    assert best_column(clean, attacked) == 2
    assert best_column(clean[:, :2], attacked[:, :2]) == 0
