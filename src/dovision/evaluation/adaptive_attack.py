"""The attacker who knows the detector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._lp_ball import Ball, column, unit
from dovision.attacks.losses import margin
from dovision.evaluation.detector_fits import Fitted
from dovision.interfaces import Attack, Classifier, Detector
from dovision.store.detection_tables import ADAPTIVE, ADAPTIVE_STEPS, DETECTOR, TEST
from dovision.types import Batch, Epsilons

UNDETECTED = 0.05  # share of clean validation images above the threshold that scores are brought below
DECAY = 0.75  # share of the direction so far that each step keeps
LONGEST, SHORTEST = 1.0, 0.01  # steps, in epsilons: half a cosine leads from the one to the other
GAIN = 1.25  # factor by which the weight of the score changes from step to step
HEAVIEST = 100.0  # weight of the score; the lightest is its inverse
SOFT = 10.0  # what logits are divided by in every other start, so that gradients do not vanish where P saturates
OTHER_DRAWS = 2**32  # samples of other numbers are of other draws; as far apart as this


class Opponent(NamedTuple):
    """Detector under attack."""

    detector: Detector  # fitted; with a gradient from the score to the image
    threshold: float  # an image is undetected if its score is at most this
    with_autoencoder: Classifier | None = None  # the classifier with its autoencoder, where that is read


class State(NamedTuple):
    """State of the attack per image; gradients have norm 1, or are zero where undefined."""

    fooled: Tensor  # (B,) bool
    score: Tensor  # (B,) of the detector
    up_margin: Tensor  # (B, C, H, W) in which the margin rises
    up_score: Tensor  # (B, C, H, W) in which the score rises
    weight: Tensor  # (B,) of the score beside the margin


def weighted(state: State) -> Tensor:
    """Raise the margin and lower the score at once; the score's weight grows while an image is only detected."""
    return state.up_margin - column(state.weight) * state.up_score


def selective(state: State) -> Tensor:
    """Raise the margin until the classifier is fooled, then lower the score.

    Source: Bryniarski et al., arXiv:2106.15023.
    """
    return torch.where(column(state.fooled), -state.up_score, state.up_margin)


def orthogonal(state: State) -> Tensor:
    """As `selective`, along directions that leave the other quantity unchanged to first order.

    Source: Bryniarski et al., arXiv:2106.15023.
    """
    up, down = without(state.up_margin, state.up_score), -without(state.up_score, state.up_margin)
    return torch.where(column(state.fooled), down, up)


DIRECTIONS: dict[str, Callable[[State], Tensor]] = {
    direction.__name__: direction for direction in (weighted, selective, orthogonal)
}


class Adaptive(Attack):
    """Steps that fool the classifier and bring the detector's score below its threshold, both by gradient.

    The classifier's side is its margin, which does not saturate. Each start is followed in each direction; of all
    steps it returns, for each image, the one that fools the classifier at the lowest score. In every other start
    the detector reads logits that are divided by a temperature, for gradients alone: those of saturated probabilities
    vanish. Of a detector with random reads, gradients and scores are means over draws that are not its own.

    Args:
        eps: as of Attack, linf.
        opponent: the detector.
        steps: after each start, each a gradient.
        restarts: starts per image and direction.
        draws: reads of a detector whose reads depend on random numbers; all others are read once.
        seed: of the starts.

    `first` has after a call, by direction, the number of the first step, shape (B,), that has led to an image that is
    misclassified and undetected; -1 where none has.

    Source: Carlini and Wagner, arXiv:1705.07263; Tramer et al., arXiv:2002.08347; Athalye et al., arXiv:1707.07397
    (means over draws); see also the directions.
    """

    first: dict[str, Tensor]
    _shifts: Sequence[int] = (0,)

    def __init__(
        self,
        eps: Epsilons,
        opponent: Opponent,
        steps: int,
        restarts: int = 1,
        draws: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, "linf")
        self.opponent = opponent
        self.steps = checks.positive_int("steps", steps)
        self.restarts = checks.positive_int("restarts", restarts)
        self.draws = checks.positive_int("draws", draws)
        self.seed = seed

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        self._shifts = self._draw_numbers(batch, classifier)
        best, self.first = Best.of(batch.image), {}
        for name in DIRECTIONS:
            for restart in range(self.restarts):
                followed, first = self._follow(name, restart, ball, batch, classifier)
                best = best.or_better(followed)
                self.first[name] = earlier(self.first[name], first) if restart else first
        return best.image

    def _follow(self, name: str, restart: int, ball: Ball, batch: Batch, classifier: Classifier) -> tuple[Best, Tensor]:
        """Best image of one start and direction, and the first step that evades, shape (B,)."""
        image = ball.draw(batch.sample, self.seed, restart)
        best, direction = Best.of(image), torch.zeros_like(image)
        weight = torch.ones(len(image), device=image.device)
        first = torch.full_like(batch.sample, -1)
        for step in range(self.steps + 1):
            state = self._state(image, batch, classifier, weight, SOFT if restart % 2 else 1.0)
            best = best.or_better(Best(image, torch.where(state.fooled, state.score, torch.inf)))
            evading = state.fooled & (state.score <= self.opponent.threshold)
            first = torch.where((first < 0) & evading, step, first)
            direction = DECAY * direction + unit(DIRECTIONS[name](state))
            length = SHORTEST + (LONGEST - SHORTEST) * (1 + math.cos(math.pi * step / self.steps)) / 2
            image = ball.project(image + length * ball.eps * ball.steepest(direction))
            weight = self._next_weight(state)
        return best, first

    def _next_weight(self, state: State) -> Tensor:
        detected = state.score > self.opponent.threshold
        factor = torch.where(detected, GAIN, 1.0).where(state.fooled, 1 / GAIN)
        return (state.weight * factor).clamp(1 / HEAVIEST, HEAVIEST)

    def _state(self, image: Tensor, batch: Batch, classifier: Classifier, weight: Tensor, temperature: float) -> State:
        leaf = image.detach().clone().requires_grad_()
        logits = classifier(leaf)
        lead = margin(logits, batch.label, classifier.task)
        (up_margin,) = torch.autograd.grad(lead.sum(), leaf)
        score, up_score = self._score(batch._replace(image=leaf), classifier, temperature)
        fooled = ~classifier.task.correct(classifier.task.probability(logits.detach()), batch.label)
        return State(fooled, score, unit(up_margin), unit(up_score), weight)

    def _score(self, batch: Batch, classifier: Classifier, temperature: float) -> tuple[Tensor, Tensor]:
        """Score, shape (B,), and its gradient, at a temperature if given; averaged over random draws."""
        scores, gradients = [], []
        for draw in self._shifts:
            drawn = batch._replace(sample=batch.sample + draw * OTHER_DRAWS)
            with self._softened(classifier, temperature):
                score = self._read(drawn, classifier)
            (gradient,) = torch.autograd.grad(score.sum(), batch.image)
            if temperature != 1:
                with torch.no_grad():
                    score = self._read(drawn._replace(image=batch.image.detach()), classifier)
            scores.append(score.detach())
            gradients.append(gradient.nan_to_num(0, 0, 0))
        return torch.stack(scores).mean(0), torch.stack(gradients).mean(0)

    @torch.no_grad()
    def _draw_numbers(self, batch: Batch, classifier: Classifier) -> Sequence[int]:
        """Numbers of the draws to average over; only one if reads are deterministic."""
        first, other = (
            self.opponent.detector.read(
                batch._replace(sample=batch.sample + draw * OTHER_DRAWS), classifier, self.opponent.with_autoencoder
            )
            for draw in (0, 1)
        )
        return (0,) if torch.equal(first, other) else range(1, self.draws + 1)

    def _read(self, batch: Batch, classifier: Classifier) -> Tensor:
        detector = self.opponent.detector
        return detector.score(detector.read(batch, classifier, self.opponent.with_autoencoder))

    def _softened(self, classifier: Classifier, temperature: float) -> ExitStack:
        """Divide logits by the temperature within the block."""
        stack = ExitStack()
        for network in (classifier, self.opponent.with_autoencoder):
            if network is not None and temperature != 1:
                stack.enter_context(network.register_forward_hook(lambda module, inputs, logits: logits / temperature))
        return stack


class Best(NamedTuple):
    """Best images so far."""

    image: Tensor  # (B, C, H, W)
    score: Tensor  # (B,) of the detector; inf where the classifier is not fooled

    @classmethod
    def of(cls, image: Tensor) -> Best:
        return cls(image, torch.full((len(image),), torch.inf, device=image.device))

    def or_better(self, other: Best) -> Best:
        """Image with the lower score of two candidates."""
        lower = other.score < self.score
        image = torch.where(column(lower), other.image, self.image)
        return Best(image, torch.where(lower, other.score, self.score))


def without(gradient: Tensor, other: Tensor) -> Tensor:
    """Component of each gradient, shape (B, C, H, W), orthogonal to the other one."""
    flat, along = gradient.flatten(1), other.flatten(1)
    share = (flat * along).sum(1) / along.square().sum(1).clamp(min=torch.finfo(flat.dtype).tiny)
    return gradient - column(share) * other


def earlier(one: Tensor, other: Tensor) -> Tensor:
    """Smaller of two step counts; -1 stands for never."""
    return torch.where((one < 0) | ((other >= 0) & (other < one)), other, one)


class AdaptiveRows(NamedTuple):
    """Results of a batch: rows of scores.parquet and of adaptive.parquet."""

    scores: pa.RecordBatch
    steps: pa.RecordBatch


def adaptive_rows(
    fitted: Fitted, attack: Adaptive, batches: Iterable[Batch], classifier: Classifier, finished: int = 0
) -> Iterator[AdaptiveRows]:
    """Attack test images against this detector; the first `finished` images are skipped."""
    opponent = attack.opponent
    for batch in batches:
        batch = Batch(*(field.to(classifier.mean.device) for field in batch))
        before = _correct(classifier, batch)
        image = {"sample": batch.sample.tolist(), "group": batch.group.tolist()}
        for eps in attack.eps:
            finished -= len(batch.sample)
            if finished >= 0:
                continue
            attacked = batch._replace(image=attack(batch, classifier, eps))
            after = _correct(classifier, attacked)
            with torch.no_grad():
                score = fitted.detector.score(fitted.detector.read(attacked, classifier, opponent.with_autoencoder))
            rows = pd.DataFrame({**image, "split": TEST, "attack": ADAPTIVE, "eps": eps, "correct": after})
            rows["success"] = (~rows["correct"]).astype("boolean").where(before)
            yield AdaptiveRows(fitted.rows(rows, score), _steps(fitted, attack, image, eps, before))


def _steps(
    fitted: Fitted, attack: Adaptive, image: Mapping[str, list[int]], eps: float, right: npt.NDArray[np.bool_]
) -> pa.RecordBatch:
    fit = {**dict(zip(DETECTOR, fitted[:3], strict=True)), "eps": eps}
    frames = [
        pd.DataFrame({**image, **fit, "right": right, "direction": name, "steps": attack.steps}).assign(
            first=first.cpu().numpy()
        )
        for name, first in attack.first.items()
    ]
    frame = pd.concat(frames).astype({"first": pd.Int32Dtype()})
    frame["first"] = frame["first"].where(frame["first"] >= 0)
    return ADAPTIVE_STEPS.from_frame(frame)


@torch.no_grad()
def _correct(classifier: Classifier, batch: Batch) -> npt.NDArray[np.bool_]:
    probability = classifier.task.probability(classifier(batch.image))
    return classifier.task.correct(probability, batch.label).cpu().numpy()
