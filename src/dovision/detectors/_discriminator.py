"""A classifier of scikit-learn's, clean against attacked, exported to torch."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor


class Discriminator(NamedTuple):
    """Linear layers with a ReLU between, on standardised features; a logistic regression has a single layer."""

    mean: Tensor  # (F,)
    scale: Tensor  # (F,) standard deviation; 1 of what never varied
    layers: tuple[tuple[Tensor, Tensor], ...]  # weights (inputs, outputs) and biases

    def logit(self, features: Tensor) -> Tensor:
        """Log-odds of attacked, shape (B,), from features, shape (B, F); differentiable."""
        hidden = (features - self.mean.to(features)) / self.scale.to(features)
        for number, (weights, bias) in enumerate(self.layers):
            hidden = (hidden.relu() if number else hidden) @ weights.to(features) + bias.to(features)
        return hidden.squeeze(1)


def fit_discriminator(clean: Tensor, attacked: Tensor, estimator: LogisticRegression | MLPClassifier) -> Discriminator:
    """Standardise the rows of both, shapes (N, F) and (M, F), fit the estimator, and export it."""
    rows = torch.cat([clean, attacked]).double().cpu().numpy()
    attack = np.repeat([0, 1], [len(clean), len(attacked)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is chosen, not found
        pipeline = make_pipeline(StandardScaler(), estimator).fit(rows, attack)
    return export(pipeline)


def export(pipeline: Pipeline) -> Discriminator:
    """The same function in torch, of a fitted StandardScaler and LogisticRegression or MLPClassifier with ReLUs."""
    scaler, estimator = (step for _, step in pipeline.steps)
    if isinstance(estimator, MLPClassifier):
        layers = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    else:
        layers = zip([estimator.coef_.T], [estimator.intercept_], strict=True)
    exported = tuple((torch.from_numpy(weights), torch.from_numpy(bias)) for weights, bias in layers)
    return Discriminator(torch.from_numpy(scaler.mean_), torch.from_numpy(scaler.scale_), exported)
