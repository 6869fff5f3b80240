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
from dovision.attacks.losses import leads, margin
from dovision.attacks.lp_ball import Ball, column, unit
from dovision.functional.filters import rotate_and_shift
from dovision.functional.norms import SPATIAL
from dovision.functional.rng import uniform
from dovision.interfaces import Attack, Classifier, Detector
from dovision.measurement.callback import round_to_8_bits
from dovision.measurement.detector_fits import Fitted
from dovision.results.detection_tables import ADAPTIVE_ATTACKS, ADAPTIVE_STEPS, DETECTOR, SCORES, TEST
from dovision.results.tables import RunTable
from dovision.types import Batch, Epsilons, Task

UNDETECTED = 0.05  # share of clean validation images above the threshold that scores are brought below
DECAY = 0.75  # share of the direction so far that each step keeps
LONGEST, SHORTEST = 1.0, 0.01  # steps, in epsilons: half a cosine leads from the one to the other
GAIN = 1.25  # factor by which the weight of the score changes from step to step
HEAVIEST = 100.0  # weight of the score; the lightest is its inverse
SOFT = 10.0  # what logits are divided by in every other start, so that gradients do not vanish where P saturates
OTHER_DRAWS = 2**32  # samples of other numbers are of other draws; as far apart as this
DEGREES = 30.0  # rotation of a spatial epsilon of 1, as in arXiv:1712.02779
SIDES = 0.1  # shift of a spatial epsilon of 1, in sides of the image
SEARCH = "search"  # direction of random rotations and shifts


class Opponent(NamedTuple):
    """Detector under attack."""

    detector: Detector  # fitted; with a gradient from the score to the image
    threshold: float  # an image is undetected if its score is at most this


class Attempt(NamedTuple):
    """Images that one start follows in one direction."""

    direction: str
    restart: int  # number of the start
    batch: Batch  # as they are
    target: Tensor | None  # (B,) class that is aimed at; None: any wrong answer


class State(NamedTuple):
    """State of the attack per image; gradients have norm 1, or are zero where undefined."""

    fooled: Tensor  # (B,) bool
    score: Tensor  # (B,) of the detector
    up_margin: Tensor  # (B, C, H, W) in which the mean margin of the views rises
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


class Budget(NamedTuple):
    """What the attacker may spend on an image.

    Args:
        steps: after each start, each a gradient; spatial: rotations and shifts that are tried a start.
        restarts: starts per image, direction and target.
        targets: likeliest wrong classes that the starts aim at in turn; of a multilabel task any wrong answer.
        draws: reads of a detector whose reads depend on random numbers; all others are read once.
    """

    steps: int
    restarts: int = 1
    targets: int = 1
    draws: int = 1

    @property
    def starts(self) -> int:
        """Starts per image and direction."""
        return self.restarts * self.targets


class Adaptive(Attack):
    """Images that fool the classifier and have a detector's score below its threshold.

    By gradient in Linf, L2 and L1: what is raised is the margin of a wrong class over the others, averaged over
    the views that `Detector.read_views` gives (most detectors: the image alone), and it does not saturate; what is
    lowered is the detector's score. A start is followed in each direction, the first one from the image itself. In
    every other start at a target the detector reads logits that are divided by a temperature, for gradients alone:
    those of saturated probabilities vanish. Of a detector with random reads, gradients and scores are means over draws
    that are not its own, and all starts are followed, as its own draw may lie above the mean. Spatial budgets are
    searched at random: a rotation by up to 30 eps degrees, and shifts by up to eps tenths of a side.

    Returns, for each image, the one of all steps that fools the classifier at the lowest score. An image that evades is
    followed to the end of its start and direction, and is then done.

    Args:
        eps, norm: as of Attack; linf, l2, l1 or spatial.
        opponent: the detector.
        budget: steps, starts, targets and draws.
        seed: of the starts; draws are by (seed, sample).

    `first` has after a call, by direction, the number of the first step, shape (B,), that has led to an image that is
    misclassified and undetected, and `start` that of the start; -1 where none has.

    Source: Carlini and Wagner, arXiv:1705.07263; Tramer et al., arXiv:2002.08347; Athalye et al., arXiv:1707.07397
    (means over draws) and arXiv:1802.00420 (smooth steps); Engstrom et al., arXiv:1712.02779 (spatial); see also the
    directions.
    """

    norms = ("linf", "l2", "l1", SPATIAL)
    first: dict[str, Tensor]
    start: dict[str, Tensor]
    _shifts: Sequence[int] = (0,)

    def __init__(
        self,
        eps: Epsilons,
        opponent: Opponent,
        budget: Budget,
        norm: str = "linf",
        seed: int = 0,
    ) -> None:
        super().__init__(eps, norm)
        self.opponent = opponent
        self.budget = Budget(*(checks.positive_int(*item) for item in budget._asdict().items()))
        self.seed = seed

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        names = [SEARCH] if self.norm == SPATIAL else [*DIRECTIONS]
        self.first, self.start = ({name: torch.full_like(batch.sample, -1) for name in names} for _ in range(2))
        self._shifts = self._draw_numbers(batch, classifier)
        best = Best.of(batch.image)
        limit = -math.inf if 0 not in self._shifts else self.opponent.threshold
        for restart in range(self.budget.starts):
            target = self._target(batch, classifier, restart)
            for name in names:
                rows = (best.score > limit).nonzero().flatten()
                if not len(rows):
                    return best.image
                start = Attempt(name, restart, batch.rows(rows), None if target is None else target[rows])
                follow = self._search if name == SEARCH else self._follow
                followed, first = follow(start, eps, classifier)
                best = best.or_better(followed, rows)
                evading = rows[first >= 0]
                self.first[name][evading], self.start[name][evading] = first[first >= 0], restart
        return best.image

    @torch.no_grad()
    def _target(self, batch: Batch, classifier: Classifier, restart: int) -> Tensor | None:
        """Wrong class that a start aims at, shape (B,): one of the likeliest; None, any wrong answer, of multilabel."""
        if classifier.task.multilabel:
            return None
        likeliest = leads(classifier(batch.image), batch.label, classifier.task)
        count = min(self.budget.targets, likeliest.shape[1] - 1)
        return likeliest.topk(count, 1).indices[:, restart % count]

    def _follow(self, start: Attempt, eps: float, classifier: Classifier) -> tuple[Best, Tensor]:
        """Best image of one start and direction, and the first step that evades, shape (B,)."""
        batch, ball = start.batch, Ball(start.batch.image, eps, self.norm)
        image = ball.draw(batch.sample, self.seed, start.restart) if start.restart else ball.project(batch.image)
        best, direction = Best.of(image), torch.zeros_like(image)
        weight = torch.ones(len(image), device=image.device)
        first = torch.full_like(batch.sample, -1)
        for step in range(self.budget.steps + 1):
            state = self._state(image, start, classifier)._replace(weight=weight)
            best, first = self._noted(best, first, step, image, state.fooled, state.score)
            direction = DECAY * direction + unit(DIRECTIONS[start.direction](state))
            length = SHORTEST + (LONGEST - SHORTEST) * (1 + math.cos(math.pi * step / self.budget.steps)) / 2
            image = ball.project(image + length * eps * ball.steepest(direction, image))
            factor = torch.where(state.score > self.opponent.threshold, GAIN, 1.0).where(state.fooled, 1 / GAIN)
            weight = (weight * factor).clamp(1 / HEAVIEST, HEAVIEST)
        return best, first

    def _search(self, start: Attempt, eps: float, classifier: Classifier) -> tuple[Best, Tensor]:
        """Best of random rotations and shifts, and the first try that evades, shape (B,)."""
        batch = start.batch
        best, first = Best.of(batch.image), torch.full_like(batch.sample, -1)
        drawn = uniform((self.budget.steps, 3), self.seed, batch.sample, start.restart).to(batch.image) * 2 - 1
        for step, moves in enumerate((eps * drawn).unbind(1)):
            image = rotate_and_shift(batch.image, DEGREES * moves[:, 0], SIDES * moves[:, 1], SIDES * moves[:, 2])
            seen = self._seen(batch._replace(image=image), classifier)
            best, first = self._noted(best, first, step, image, *seen)
        return best, first

    def _noted(
        self, best: Best, first: Tensor, step: int, image: Tensor, fooled: Tensor, score: Tensor
    ) -> tuple[Best, Tensor]:
        """Best image and first evading step with those of one more step."""
        best = best.or_better(Best(image, torch.where(fooled, score, torch.inf)))
        evading = fooled & (score <= self.opponent.threshold)
        return best, torch.where((first < 0) & evading, step, first)

    def _state(self, image: Tensor, start: Attempt, classifier: Classifier) -> State:
        """State of images by the gradients of the detector, averaged over random draws."""
        leaf = image.detach().clone().requires_grad_()
        batch = start.batch._replace(image=leaf)
        soft = sum(divmod(start.restart, self.budget.targets)) % 2 == 1  # alternates over starts and over targets
        scores, margins, ups = [], [], []
        for drawn in other_draws(batch, self._shifts):
            score, views = _read(self.opponent, drawn, classifier)
            lead = view_margin(views, batch.label, start.target, classifier.task)
            (up_margin,) = torch.autograd.grad(lead.sum(), leaf, retain_graph=not soft)
            scores.append(score.detach())
            if soft:
                with softened(SOFT, classifier, *classifier.coded):
                    score, _ = _read(self.opponent, drawn, classifier)
            (up_score,) = torch.autograd.grad(score.sum(), leaf)
            margins.append(up_margin.nan_to_num(0, 0, 0))
            ups.append(up_score.nan_to_num(0, 0, 0))
        up_margin, up_score = (unit(torch.stack(gradients).mean(0)) for gradients in (margins, ups))
        fooled = _fooled(views.detach(), batch.label, classifier.task)
        return State(fooled, torch.stack(scores).mean(0), up_margin, up_score, torch.ones_like(score))

    @torch.no_grad()
    def _seen(self, batch: Batch, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """Whether images fool the classifier, and their score, averaged over random draws; both of shape (B,)."""
        reads = [_read(self.opponent, drawn, classifier) for drawn in other_draws(batch, self._shifts)]
        score = torch.stack([score for score, _ in reads]).mean(0)
        return _fooled(reads[0][1], batch.label, classifier.task), score

    @torch.no_grad()
    def _draw_numbers(self, batch: Batch, classifier: Classifier) -> Sequence[int]:
        """Numbers of the draws to average over; only one if reads are deterministic."""
        first, other = (self.opponent.detector.read(drawn, classifier) for drawn in other_draws(batch, (0, 1)))
        return (0,) if torch.equal(first, other) else range(1, self.budget.draws + 1)


class Best(NamedTuple):
    """Best images so far."""

    image: Tensor  # (B, C, H, W)
    score: Tensor  # (B,) of the detector; inf where the classifier is not fooled

    @classmethod
    def of(cls, image: Tensor) -> Best:
        return cls(image, torch.full((len(image),), torch.inf, device=image.device))

    def or_better(self, other: Best, rows: Tensor | None = None) -> Best:
        """Image with the lower score of two candidates; `other` may be of some rows."""
        if rows is not None:
            whole = Best(self.image.clone(), torch.full_like(self.score, torch.inf))
            whole.image[rows], whole.score[rows] = other
            return self.or_better(whole)
        lower = other.score < self.score
        image = torch.where(column(lower), other.image, self.image)
        return Best(image, torch.where(lower, other.score, self.score))


def view_margin(views: Tensor, label: Tensor, target: Tensor | None, task: Task) -> Tensor:
    """Lead of the target over all other classes, or of any wrong answer, shape (B,): the mean over views (B, V, K)."""
    subject = label if target is None else target
    flat, repeated = views.flatten(0, 1), subject.repeat_interleave(views.shape[1], 0)
    lead = margin(flat, repeated, task)
    return (lead if target is None else -lead).view(views.shape[:2]).mean(1)


def other_draws(batch: Batch, shifts: Iterable[int]) -> Iterator[Batch]:
    """Batch with the random draws of other samples, once for each number; 0 are its own."""
    for shift in shifts:
        yield batch._replace(sample=batch.sample + shift * OTHER_DRAWS)


def softened(temperature: float, *networks: Classifier) -> ExitStack:
    """Divide the logits of networks by the temperature within the block."""
    stack = ExitStack()
    for network in networks:
        stack.enter_context(network.register_forward_hook(lambda module, inputs, logits: logits / temperature))
    return stack


def without(gradient: Tensor, other: Tensor) -> Tensor:
    """Component of each gradient, shape (B, C, H, W), orthogonal to the other one."""
    flat, along = gradient.flatten(1), other.flatten(1)
    share = (flat * along).sum(1) / along.square().sum(1).clamp(min=torch.finfo(flat.dtype).tiny)
    return gradient - column(share) * other


def _read(opponent: Opponent, batch: Batch, classifier: Classifier) -> tuple[Tensor, Tensor]:
    """Score, shape (B,), and logits of all views, shape (B, V, K)."""
    features, views = opponent.detector.read_views(batch, classifier)
    return opponent.detector.score(features), views


def _fooled(views: Tensor, label: Tensor, task: Task) -> Tensor:
    """Return whether the first view, of views (B, V, K), is answered wrongly, shape (B,)."""
    return ~task.correct(task.probability(views[:, 0]), label)


def adaptive_rows(
    fitted: Fitted, attack: Adaptive, batches: Iterable[Batch], classifier: Classifier, finished: int = 0
) -> Iterator[dict[RunTable, pa.RecordBatch]]:
    """Rows of both tables, batch by batch, of test images that are attacked against this detector at each epsilon.

    The first `finished` rows are skipped.

    An image evades if it is misclassified and the detector, by its own draw, scores it at most at the threshold. One
    that evades at one epsilon does so at all larger ones, and is not attacked again.
    """
    for batch in batches:
        batch = Batch(*(field.to(classifier.mean.device) for field in batch))
        finished -= len(batch.sample) * len(attack.eps)
        if finished >= 0:
            continue
        before = _correct(classifier, batch)
        (name,) = (name for name, norm in ADAPTIVE_ATTACKS.items() if norm.lower() == attack.norm)
        evaded, image = torch.zeros_like(batch.sample, dtype=torch.bool), batch.image
        first: dict[str, Tensor] = {}
        start: dict[str, Tensor] = {}
        scores, steps = [], []
        for eps in sorted(attack.eps):
            rows = (~evaded).nonzero().flatten()
            if len(rows):
                image = image.index_put((rows,), attack(batch.rows(rows), classifier, eps))
                for stored, new in ((first, attack.first), (start, attack.start)):
                    for direction, numbers in new.items():
                        stored.setdefault(direction, torch.full_like(batch.sample, -1))[rows] = numbers
            attacked = batch._replace(image=image)
            rounded = batch._replace(image=round_to_8_bits(image))
            with torch.no_grad():
                score, at_8_bits = (
                    fitted.detector.score(fitted.detector.read(one, classifier)) for one in (attacked, rounded)
                )
            columns = {"sample": batch.sample.tolist(), "group": batch.group.tolist(), "attack": name, "eps": eps}
            frame = pd.DataFrame({**columns, "split": TEST, "correct": _correct(classifier, attacked)})
            fooled = torch.tensor(~frame["correct"].to_numpy(), device=score.device)
            evaded = fooled & (score <= attack.opponent.threshold)
            for numbers in (*first.values(), *start.values()):
                numbers[~evaded] = -1  # evaded on the average of other draws alone
            frame["success"] = (~frame["correct"]).astype("boolean").where(before)
            scores.append(fitted.rows(frame, score))
            undetected = (at_8_bits <= attack.opponent.threshold).cpu().numpy()
            columns |= dict(zip(DETECTOR, fitted[:3], strict=True)) | {"right": before, "steps": attack.budget.steps}
            columns |= {"starts": attack.budget.starts, "rounded": ~_correct(classifier, rounded) & undetected}
            steps.append(_steps(columns, first, start))
        yield {SCORES: pa.concat_batches(scores), ADAPTIVE_STEPS: pa.concat_batches(steps)}


def _steps(columns: Mapping[str, object], first: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> pa.RecordBatch:
    """Rows of adaptive.parquet, one an image and direction."""
    frames = [
        pd.DataFrame(
            {**columns, "direction": name, "first": first[name].cpu().numpy(), "start": start[name].cpu().numpy()}
        )
        for name in first
    ]
    frame = pd.concat(frames).astype(dict.fromkeys(("first", "start"), pd.Int32Dtype()))
    for name in ("first", "start"):
        frame[name] = frame[name].where(frame[name] >= 0)
    return ADAPTIVE_STEPS.from_frame(frame)


@torch.no_grad()
def _correct(classifier: Classifier, batch: Batch) -> npt.NDArray[np.bool_]:
    probability = classifier.task.probability(classifier(batch.image))
    return classifier.task.correct(probability, batch.label).cpu().numpy()
