"""Spread of the effects of leaving something out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dovision.detectors._discriminator import Discriminator, fit_discriminator
from dovision.detectors._profile import Profile, deviation
from dovision.interfaces import Classifier, Detector, Intervention
from dovision.types import Batch


class MLLOO(Detector):
    """Log-odds of attacked, by a logistic regression on the dispersion of leave-one-out attributions.

    An attribution is minus an effect: what the predicted class loses when one thing is left out. Its source leaves out
    single pixels, and neurons of hidden layers; here it is the units of interventions, since a pass for each pixel is
    out of reach of larger images. Multilabel: the dispersions of the effects on each label.

    Args:
        interventions: by name, such as {"grid": PixelGrid(14, 14)}; several stand for the source's several layers.
        scale: of the effects, probability or log_odds.

    Source: Yang, Chen, Hsieh, Wang and Jordan, AAAI 2020, arXiv:1906.03499.
    """

    supervised = True
    discriminator: Discriminator

    def __init__(self, interventions: Mapping[str, Intervention], scale: str) -> None:
        self.profile = Profile(interventions, scale)
        self.reads_code = self.profile.reads_code

    def read_features(self, batch: Batch, classifier: Classifier, inserted: Classifier | None) -> Tensor:
        effects = self.profile(batch, classifier, inserted)
        self.passes = self.profile.passes
        return torch.cat([dispersion(effect) for effect in effects], 1)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        regression = LogisticRegression(class_weight="balanced")
        self.discriminator = fit_discriminator(clean, attacked, regression)

    def score_features(self, features: Tensor) -> Tensor:
        return self.discriminator.logit(features)


def dispersion(effect: Tensor) -> Tensor:
    """Standard deviation, interquartile range and median absolute deviation; shape (B, 3 C) from (B, units, C)."""
    low, middle, high = effect.quantile(torch.tensor([0.25, 0.5, 0.75]).to(effect), dim=1)
    absolute = (effect - middle.unsqueeze(1)).abs().quantile(0.5, dim=1)
    return torch.cat([deviation(effect), high - low, absolute], 1)
