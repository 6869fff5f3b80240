"""Detectors that read the effects of interventions, and are fitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from dovision import checks
from dovision.detectors._estimators import Discriminator, Gaussians, fit_discriminator, fit_gaussians
from dovision.detectors._profile import Profile, compressed, flatten_effects, magnitude
from dovision.interfaces import Classifier, Detector, Intervention
from dovision.types import Batch


class EffectProfile(Detector):
    """Squared Mahalanobis distance of the effect profile, on a logarithmic scale, to that of clean images.

    Args:
        interventions: by name, such as {"grid": PixelGrid(7, 7)}; what is read are the effects of their units.
        scale: of the effects, probability or log_odds.
        summaries: whether mean, mean size, deviation and extremes over the units are read as well.
        resolution: below it effects are on a linear scale; in the unit of `scale`, above 0.

    Source: the idea, arXiv:1902.03380; the distance with a shrunk covariance, Ledoit and Wolf, 2004.

    Example:
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> detector = dv.component("detector", "effect_profile")
        >>> features = detector.read(digits, classifier, None)
        >>> detector.fit(features, features[:0])
        >>> detector.score(features).shape
        torch.Size([8])
    """

    gaussian: Gaussians

    def __init__(
        self, interventions: Mapping[str, Intervention], scale: str, summaries: bool, resolution: float
    ) -> None:
        self.profile = Profile(interventions, scale)
        self.summaries = summaries
        self.resolution = checks.positive("resolution", resolution)
        self.reads_code = self.profile.reads_code

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        effects = self.profile(batch, classifier, with_autoencoder)
        self.passes = self.profile.passes
        return flatten_effects(effects, self.summaries)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        rows = compressed(clean.double(), self.resolution)
        self.gaussian = fit_gaussians(rows, torch.zeros(len(rows)))

    def score_features(self, features: Tensor) -> Tensor:
        return self.gaussian.squared_distance(compressed(features, self.resolution))


class EffectClassifier(EffectProfile):
    """Log-odds of attacked, by a network of linear layers and ReLUs on the effect profile.

    It sees each effect thrice, standardised: as it is, on a logarithmic scale, and its size on such a scale.
    It learns the pattern of effects by their places. So it is better than `EffectConsistency` on the same grid at
    separating an attack that it was fitted to from noise, and worse on attacks that it has not seen.

    Args:
        interventions, scale, summaries, resolution: as of EffectProfile.
        hidden: units of each hidden layer.
        penalty: on the squared weights, as scikit-learn's alpha.
        epochs: at most so many passes over the images that it is fitted to.
        seed: of the network's first weights and of the order of the images.

    Source: the idea, arXiv:1902.03380.

    Example:
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> detector = dv.component("detector", "effect_classifier", {"epochs": 2})
        >>> features = detector.read(digits, classifier, None)
        >>> detector.fit(features[:4], features[4:])
        >>> detector.score(features).shape
        torch.Size([8])
    """

    supervised = True
    discriminator: Discriminator

    def __init__(
        self,
        interventions: Mapping[str, Intervention],
        scale: str,
        summaries: bool,
        resolution: float,
        hidden: Sequence[int],
        penalty: float,
        epochs: int,
        seed: int,
    ) -> None:
        super().__init__(interventions, scale, summaries, resolution)
        self.hidden = tuple(checks.positive_int("hidden", units) for units in hidden)
        self.penalty = checks.at_least("penalty", penalty, 0)
        self.epochs = checks.positive_int("epochs", epochs)
        self.seed = seed

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        network = MLPClassifier(self.hidden, alpha=self.penalty, max_iter=self.epochs, random_state=self.seed)
        self.discriminator = fit_discriminator(self._seen(clean.double()), self._seen(attacked.double()), network)

    def score_features(self, features: Tensor) -> Tensor:
        return self.discriminator.logit(self._seen(features))

    def _seen(self, features: Tensor) -> Tensor:
        logarithmic = (scale(features, self.resolution) for scale in (compressed, magnitude))
        return torch.cat([features, *logarithmic], 1)
