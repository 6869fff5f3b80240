"""Detectors that read how far predictions stay as they are when the image is transformed, or its cells are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from dovision import checks
from dovision.detectors._monotone import MonotoneScore, fit_monotone
from dovision.detectors._profile import Profile, compressed
from dovision.interfaces import Classifier, Detector, Intervention
from dovision.propagation import Outcome
from dovision.types import INPUT, Batch, Task


class LogOddsEffect(Detector):
    """Largest loss of the prediction's log-odds over units; no fit.

    Multilabel: the losses of all labels are summed, each on the side on which the label was predicted: of the log-odds
    that it is there, or that it is not.

    Args:
        interventions: by name, such as {"transform": Transform({"median3": MedianFilter(3)})}.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.component("detector", "log_odds_effect")
        >>> detector.score(detector.read(digits, classifier)).shape
        torch.Size([8])
    """

    def __init__(self, interventions: Mapping[str, Intervention]) -> None:
        self.profile = Profile(interventions, "log_odds")
        self.reads_code = self.profile.reads_code

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        predicted, outcomes = self.profile.outcomes(batch, classifier)
        self.passes = self.profile.passes
        return torch.cat(self._reads(batch, predicted, outcomes, classifier.task), 1)

    def _reads(self, batch: Batch, predicted: Tensor, outcomes: Sequence[Outcome], task: Task) -> list[Tensor]:
        """Features of each intervention, shapes (B, ...)."""
        return [log_odds_loss(outcome.treated, outcome.control, predicted, task) for outcome in outcomes]

    def score_features(self, features: Tensor) -> Tensor:
        return features.amax(1)


class EffectConsistency(LogOddsEffect):
    """Log-odds of attacked, by boosted trees that do not decrease with the size of any effect.

    Read of each unit are the loss of log-odds of the prediction (see LogOddsEffect) and the L1 distance that
    P(y | x) moves, over the classes or labels. Units that lie somewhere in the image are read by their losses alone,
    sorted, so that no place is learnt. What is learnt is how large effects are, not their pattern: so a fit to one
    attack holds for others. The value is that of the trees; its gradient, which an adaptive attacker follows, is that
    of a network fitted to them, of which no weight is negative.

    Args:
        interventions: by name, such as {"transform": Transform({"bits1": BitDepth(1), "median2": MedianFilter(2)})}.
        resolution: below it effects are on a linear scale, above it on a logarithmic one; above 0.
        trees, learning_rate, leaves, penalty: of the boosting, as max_iter, learning_rate, max_leaf_nodes and
            l2_regularization of scikit-learn's HistGradientBoostingClassifier.
        hidden: units of the network.
        steps: of its fit.
        seed: of its first weights.

    Source: the idea, arXiv:1902.03380; transforms of the image as a test, Xu, Evans and Qi, NDSS 2018,
    arXiv:1704.01155; trees under constraints, Ke et al., NeurIPS 2017.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.component("detector", "effect_consistency")
        >>> features = detector.read(digits, classifier)
        >>> detector.fit(features[:4], features[4:])
        >>> detector.score(features).shape
        torch.Size([8])
    """

    supervised = True
    fitted: MonotoneScore

    def __init__(
        self,
        interventions: Mapping[str, Intervention],
        resolution: float,
        trees: int,
        learning_rate: float,
        leaves: int,
        penalty: float,
        hidden: int,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__(interventions)
        self.resolution = checks.positive("resolution", resolution)
        self.boosting = {
            "max_iter": checks.positive_int("trees", trees),
            "learning_rate": checks.positive("learning_rate", learning_rate),
            "max_leaf_nodes": checks.bounded("leaves", leaves, 2, 2**15),
            "l2_regularization": checks.at_least("penalty", penalty, 0),
        }
        self.hidden = checks.positive_int("hidden", hidden)
        self.steps = checks.positive_int("steps", steps)
        self.seed = checks.seed(seed)

    def _reads(self, batch: Batch, predicted: Tensor, outcomes: Sequence[Outcome], task: Task) -> list[Tensor]:
        shape, sample = tuple(batch.image.shape[1:]), int(batch.sample[0])
        reads: list[Tensor] = []
        for intervention, outcome in zip(self.profile.interventions.values(), outcomes, strict=True):
            loss = log_odds_loss(outcome.treated, outcome.control, predicted, task)
            if intervention.site == INPUT and intervention.on_image(shape, 0, sample) is not None:  # units have a place
                reads.append(loss.sort(1, descending=True).values)
            else:
                distance = task.probability(outcome.treated) - task.probability(outcome.control).unsqueeze(1)
                reads += [distance.abs().sum(2), loss]  # of both over classes or labels
        return reads

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        trees = HistGradientBoostingClassifier(**self.boosting, early_stopping=False, class_weight="balanced")
        rows, others = (compressed(features.double(), self.resolution) for features in (clean, attacked))
        self.fitted = fit_monotone(rows, others, trees, self.hidden, self.steps, self.seed)

    def score_features(self, features: Tensor) -> Tensor:
        return self.fitted.logit(compressed(features, self.resolution))

    def sum_features(self, features: Tensor) -> Tensor:
        return compressed(features, self.resolution).sum(1)


def log_odds_loss(treated: Tensor, control: Tensor, predicted: Tensor, task: Task) -> Tensor:
    """Loss of the prediction's log-odds by each edit, shape (B, U): minus the effect.

    Args:
        treated: logits with each edit, shape (B, U, K).
        control: logits without one, shape (B, K).
        predicted: class numbers, shape (B,); multilabel: zeros and ones, shape (B, K).
        task: multilabel sums over the labels, each on the side that was predicted.
    """
    loss = task.log_odds(control).unsqueeze(1) - task.log_odds(treated)
    if task.multilabel:
        return (loss * (2 * predicted - 1).unsqueeze(1)).sum(2)
    return loss.take_along_dim(predicted.view(-1, 1, 1), dim=2).squeeze(2)
