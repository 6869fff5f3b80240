"""Estimators of scikit-learn's, exported to torch: a Gaussian, a logistic regression; and a choice by AUROC."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor


class Gaussian(NamedTuple):
    """A Gaussian whose covariance is shrunk to one variance."""

    mean: Tensor  # (F,)
    whitening: Tensor  # (F, F), which turns features into independent ones of variance 1

    def squared_distance(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the mean, shape (B,), of features, shape (B, F); differentiable."""
        return ((features - self.mean.to(features)) @ self.whitening.to(features)).square().sum(-1)


def fit_gaussian(features: Tensor) -> Gaussian:
    """Fit the mean, and the covariance with Ledoit-Wolf shrinkage.

    Args:
        features: shape (N, F), in double precision.

    Raises:
        ValueError: the rows are all the same.
    """
    rows = features.cpu().numpy()
    mean = rows.mean(0)
    if not (rows - mean).any():
        raise ValueError("features must differ between clean images, got the same for all.")
    precision = LedoitWolf(assume_centered=True).fit(rows - mean).precision_
    values, vectors = np.linalg.eigh((precision + precision.T) / 2)
    whitening = vectors * np.sqrt(values.clip(0))  # 0 in directions of which too few rows say nothing
    return Gaussian(torch.from_numpy(mean), torch.from_numpy(whitening))


class Regression(NamedTuple):
    """A logistic regression on standardised features."""

    mean: Tensor  # (F,)
    scale: Tensor  # (F,) standard deviation; 1 of what never varied
    weights: Tensor  # (F,)
    bias: Tensor  # ()

    def logit(self, features: Tensor) -> Tensor:
        """Log-odds of attacked, shape (B,), from features, shape (B, F); differentiable."""
        standardised = (features - self.mean.to(features)) / self.scale.to(features)
        return standardised @ self.weights.to(features) + self.bias.to(features)


def fit_regression(clean: Tensor, attacked: Tensor) -> Regression:
    """Fit scikit-learn's logistic regression to clean and attacked rows, (N, F) and (M, F), class-balanced."""
    rows = torch.cat([clean, attacked]).double().cpu().numpy()
    attack = np.repeat([0, 1], [len(clean), len(attacked)])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # lbfgs ends after scikit-learn's 100 steps
        pipeline.fit(rows, attack)
    scaler, estimator = (step for _, step in pipeline.steps)
    fitted = (scaler.mean_, scaler.scale_, estimator.coef_[0], estimator.intercept_[0])
    return Regression(*map(torch.as_tensor, fitted))


def best_column(clean: Tensor, attacked: Tensor) -> int:
    """Select the first of the columns that best separate attacked from clean rows, by AUROC.

    Args:
        clean, attacked: candidate scores, the higher, the likelier attacked; shapes (N, F) and (M, F).
    """
    rows = torch.cat([clean, attacked]).double().cpu().numpy()
    attack = np.repeat([0, 1], [len(clean), len(attacked)])
    return int(np.argmax([roc_auc_score(attack, candidate) for candidate in rows.T]))
