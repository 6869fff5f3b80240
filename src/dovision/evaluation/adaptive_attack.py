"""The attacker who knows the detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._lp_ball import Ball, column
from dovision.evaluation.detector_fits import Fitted
from dovision.interfaces import Attack, Classifier, Detector
from dovision.store.detection_tables import ADAPTIVE, ORTHOGONAL, TEST
from dovision.types import Batch


class _Standing(NamedTuple):
    """The state of the attack on each image of a batch; gradients are with respect to the pixels."""

    fooled: Tensor  # (B,) bool
    score: Tensor  # (B,) of the detector
    up_loss: Tensor  # (B, C, H, W) gradient of the classifier's loss
    up_score: Tensor  # (B, C, H, W) gradient of the detector's score


class Adaptive(Attack):
    """Ascent on the classifier's loss minus lambda times the detector's score, both by gradient.

    Of all steps it returns, for each image, the one that fools the classifier at the lowest score. In the orthogonal
    variant a step follows one of the two only, and moves along what leaves the other as it is: up the loss until the
    classifier is fooled, then down the score.

    Args:
        eps: one epsilon or several, in pixel units.
        steps: gradients per image.
        strength: lambda, the weight of the detector's score; 0 is an attack that knows nothing of it.
        orthogonal: the orthogonal variant, to which lambda means nothing.
        detector: fitted; what it reads and its score are differentiable.
        with_autoencoder: the classifier with its autoencoder, or None.
        seed: of the starts.

    Source: Carlini and Wagner, arXiv:1705.07263; Bryniarski et al., arXiv:2106.15023 (orthogonal steps).
    """

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        steps: int,
        strength: float,
        orthogonal: bool,
        detector: Detector,
        with_autoencoder: Classifier | None,
        seed: int,
    ) -> None:
        super().__init__(eps, "linf")
        self.steps = checks.positive_int("steps", steps)
        self.strength = checks.at_least("strength", strength, 0)
        self.orthogonal = orthogonal
        self.detector = detector
        self.with_autoencoder = with_autoencoder
        self.seed = seed

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        image = best = ball.draw(batch.sample, self.seed, 0)
        lowest = torch.full((len(image),), torch.inf, device=image.device)
        for _ in range(self.steps):
            stand = self._stand(image, batch, classifier)
            better = stand.fooled & (stand.score < lowest)
            best, lowest = torch.where(column(better), image, best), torch.where(better, stand.score, lowest)
            image = ball.project(image + 2.5 * eps / self.steps * ball.steepest(self._direction(stand)))
        stand = self._stand(image, batch, classifier)
        better = (stand.fooled & (stand.score < lowest)) | lowest.isinf()
        return torch.where(column(better), image, best)

    def _direction(self, stand: _Standing) -> Tensor:
        if not self.orthogonal:
            return stand.up_loss - self.strength * stand.up_score
        up, down = without(stand.up_loss, stand.up_score), -without(stand.up_score, stand.up_loss)
        return torch.where(column(stand.fooled), down, up)

    def _stand(self, image: Tensor, batch: Batch, classifier: Classifier) -> _Standing:
        leaf = image.detach().clone().requires_grad_()
        logits = classifier(leaf)
        (up_loss,) = torch.autograd.grad(classifier.task.loss(logits, batch.label).sum(), leaf)
        score = self.detector.score(self.detector.read(batch._replace(image=leaf), classifier, self.with_autoencoder))
        (up_score,) = torch.autograd.grad(score.sum(), leaf)
        fooled = ~classifier.task.correct(classifier.task.probability(logits.detach()), batch.label)
        return _Standing(fooled, score.detach(), up_loss, up_score)


def without(gradient: Tensor, other: Tensor) -> Tensor:
    """The part of each gradient, shape (B, C, H, W), that is orthogonal to the other one."""
    flat, along = gradient.flatten(1), other.flatten(1)
    share = (flat * along).sum(1) / along.square().sum(1).clamp(min=torch.finfo(flat.dtype).tiny)
    return gradient - column(share) * other


def adaptive_rows(
    fitted: Fitted, attack: Adaptive, batches: Iterable[Batch], classifier: Classifier
) -> Iterator[pa.RecordBatch]:
    """Rows of scores.parquet for test images that were attacked with this very detector in mind."""
    name, strength = (ORTHOGONAL, None) if attack.orthogonal else (ADAPTIVE, attack.strength)
    for batch in batches:
        batch = Batch(*(field.to(classifier.mean.device) for field in batch))
        before = _correct(classifier, batch)
        known = {"sample": batch.sample.tolist(), "group": batch.group.tolist(), "split": TEST, "attack": name}
        for eps in attack.eps:
            attacked = batch._replace(image=attack(batch, classifier, eps))
            after = _correct(classifier, attacked)
            with torch.no_grad():
                score = fitted.detector.score(fitted.detector.read(attacked, classifier, attack.with_autoencoder))
            facts = pd.DataFrame({**known, "eps": eps, "correct": after})
            facts["success"] = (~facts["correct"]).astype("boolean").where(before)
            yield fitted.rows(facts, score, strength)


@torch.no_grad()
def _correct(classifier: Classifier, batch: Batch) -> npt.NDArray[np.bool_]:
    probability = classifier.task.probability(classifier(batch.image))
    return classifier.task.correct(probability, batch.label).cpu().numpy()
