"""A logistic regression, as scikit-learn has it, and the choice of a setting by the rows of a fit."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dovision.detectors._estimators import best_column, fit_regression


def test_the_exported_regression_says_what_scikit_learn_says():
    random = np.random.default_rng(0)
    clean, attacked = random.normal([0] * 5, [1, 10, 0, 3, 1], (80, 5)), random.normal([0, 1, 0, 1, 0], 1, (40, 5))
    rows, attack, other = np.concatenate([clean, attacked]), np.arange(120) >= 80, random.normal(size=(40, 5)) * 2
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")).fit(rows, attack)
    regression = fit_regression(torch.from_numpy(clean), torch.from_numpy(attacked))
    for features, tolerance in ((torch.from_numpy(other), 1e-9), (torch.from_numpy(other).float(), 1e-5)):
        got = regression.logit(features).sigmoid().numpy()
        np.testing.assert_allclose(got, pipeline.predict_proba(other)[:, 1], rtol=0, atol=tolerance)


def test_the_best_column_is_that_of_the_highest_auroc_and_of_equals_the_first():
    clean = torch.tensor([[0.0, 3.0, 0.0, 0.0], [1.0, 2.0, 1.0, 1.0]])
    attacked = torch.tensor([[0.5, 0.0, 5.0, 2.0], [2.0, 1.0, 2.0, 3.0]])  # AUROC .75, 0, 1 and 1
    assert best_column(clean, attacked) == 2
    assert best_column(clean[:, :2], attacked[:, :2]) == 0
