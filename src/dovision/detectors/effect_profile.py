"""The detector that compares the effects of interventions on an image with those on clean images."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dovision import checks
from dovision.detectors._estimators import Gaussian, fit_gaussian
from dovision.detectors._profile import Profile, compressed, flatten_effects
from dovision.interfaces import Classifier, Detector, Intervention
from dovision.types import Batch


class EffectProfile(Detector):
    """Squared Mahalanobis distance of the log-scaled effect profile to clean images.

    Args:
        interventions: by name, such as {"grid": PixelGrid(7, 7)}; what is read are the effects of their units.
        scale: of the effects, probability or log_odds.
        summaries: whether mean, mean size, deviation and extremes over the units are read as well.
        resolution: below it effects are on a linear scale; in the unit of `scale`, above 0.

    Source: the idea, arXiv:1902.03380; the distance with a shrunk covariance, Ledoit and Wolf, 2004.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.component("detector", "effect_profile")
        >>> features = detector.read(digits, classifier)
        >>> detector.fit(features, features[:0])
        >>> detector.score(features).shape
        torch.Size([8])
    """

    gaussian: Gaussian

    def __init__(
        self, interventions: Mapping[str, Intervention], scale: str, summaries: bool, resolution: float
    ) -> None:
        self.profile = Profile(interventions, scale)
        self.summaries = summaries
        self.resolution = checks.positive("resolution", resolution)
        self.reads_code = self.profile.reads_code

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        effects = self.profile(batch, classifier)
        self.passes = self.profile.passes
        return flatten_effects(effects, self.summaries)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.gaussian = fit_gaussian(compressed(clean.double(), self.resolution))

    def score_features(self, features: Tensor) -> Tensor:
        return self.gaussian.squared_distance(compressed(features, self.resolution))
