"""Gaussians of one covariance, a mean a class, and the distance to the nearest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor


class Gaussians(NamedTuple):
    """Of features that share a unit, since the shrinkage is towards one variance for all."""

    centre: Tensor  # (F,) of all classes
    means: Tensor  # (C, F) around the centre, whitened
    whitening: Tensor  # (F, F), which turns features into independent ones of variance 1

    def squared_distance(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the nearest mean, shape (B,), of features, shape (B, F); differentiable."""
        white = (features - self.centre.to(features)) @ self.whitening.to(features)
        return (white.unsqueeze(1) - self.means.to(features)).square().sum(-1).amin(1)


def fit_gaussians(features: Tensor, classes: Tensor) -> Gaussians:
    """A mean for each class that occurs, and the covariance around them all, shrunk as Ledoit and Wolf do.

    Args:
        features: shape (N, F), in double precision.
        classes: number of the class of each row, shape (N,).

    Raises:
        ValueError: the rows of each class are all the same.
    """
    rows, (_, member) = features.cpu().numpy(), np.unique(classes.cpu().numpy(), return_inverse=True)
    means = np.stack([rows[member == number].mean(0) for number in range(member.max() + 1)])
    around = rows - means[member]
    if not around.any():
        raise ValueError("features must differ between clean images of a class, got the same for all.")
    precision = LedoitWolf(assume_centered=True).fit(around).precision_
    whitening = np.linalg.cholesky((precision + precision.T) / 2)
    centre = rows.mean(0)
    return Gaussians(*map(torch.from_numpy, (centre, (means - centre) @ whitening, whitening)))
