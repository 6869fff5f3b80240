"""FAB: the nearest adversarial image, by steps onto the boundary and back towards the image."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._objective import Candidates, NearestAttack, likeliest_answers
from dovision.attacks.lp_ball import Ball, column
from dovision.functional.norms import size
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons

MOST_BIAS = 0.1  # largest share of a step that begins at the clean image
OVERSHOOT = 1.05  # by which a step goes beyond the boundary
BACKWARD = 0.9  # share of the way from the clean image to an adversarial one that is kept
BISECTIONS = 3  # of that way at the end


class FAB(NearestAttack):
    """Projections onto the linearised decision boundary within the box [0, 1], biased towards the image.

    Of several starts the first is the image itself, the others lie within half of eps. Further starts
    and answers are tried for images of which none within eps was found.

    Args:
        eps, norm, target: as of NearestAttack.
        steps: of each start, each two forward passes.
        targets: wrong answers that are gone for one after the other, those that lead most when clean, each at the cost
            of all steps; None: at each step the nearest of all, which takes a gradient an answer.
        restarts: starts per image.
        seed: of the starts; they depend on (seed, sample) alone.

    Source: Croce and Hein, arXiv:1907.02044; with 9 targets FAB-T of arXiv:2003.01690.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.FAB(eps="8/255", steps=3, targets=2)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        targets: int | None = None,
        restarts: int = 1,
        norm: str = "linf",
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, norm, target)
        self.steps = checks.positive_int("steps", steps)
        self.targets = None if targets is None else checks.positive_int("targets", targets)
        self.restarts = checks.positive_int("restarts", restarts)
        self.seed = checks.seed(seed)

    def nearest(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        best = _nothing(batch.image)
        for number, answer in enumerate(self._answers(batch, classifier)):
            for restart in range(self.restarts):
                rows = (-best.loss > eps).nonzero().squeeze(1)
                if len(rows) == 0:
                    break
                some, goal = batch.rows(rows), None if answer is None else answer[rows]
                start = some.image
                if restart:
                    drawn = Ball(start, 1.0, self.norm).draw(some.sample, self.seed, number * self.restarts + restart)
                    start = start + (drawn - start) * (eps / 2)
                best = best.updated(rows, self._search(start, goal, some, classifier))
        return self._bisected(best, batch, classifier)

    def _answers(self, batch: Batch, classifier: Classifier) -> list[Tensor | None]:
        """Target answers, each of shape (B,); None: the nearest answer."""
        if self.targets is None or self.objective.target is not None:
            return [None]
        with torch.no_grad():
            logits = classifier(batch.image)
        return list(likeliest_answers(logits, batch.label, classifier.task, self.targets).unbind(1))

    def _search(self, start: Tensor, answer: Tensor | None, batch: Batch, classifier: Classifier) -> Candidates:
        image, centre = start, batch.image
        best = _nothing(centre)
        for _ in range(self.steps):
            lead, normal = self._plane(image, answer, batch, classifier)
            offset = lead - (normal * image).flatten(1).sum(1)
            step, clean_step = (project(point, normal, offset, self.norm) - point for point in (image, centre))
            reach, clean_reach = size(step, self.norm), size(clean_step, self.norm)
            bias = column((reach / (reach + clean_reach).clamp(min=1e-12)).clamp(max=MOST_BIAS))
            image = (1 - bias) * (image + OVERSHOOT * step) + bias * (centre + OVERSHOOT * clean_step)
            image = image.clamp(0, 1)
            reached = self.reached(image, batch, classifier)
            distance = torch.where(reached, size(image - centre, self.norm), torch.inf)
            best = best.or_better(Candidates(image, reached, -distance))
            image = torch.where(column(reached), centre + BACKWARD * (image - centre), image)
        return best

    def _plane(
        self, image: Tensor, answer: Tensor | None, batch: Batch, classifier: Classifier
    ) -> tuple[Tensor, Tensor]:
        """Lead of an answer, shape (B,), and its gradient, shape (B, C, H, W); by default of the nearest answer."""
        leaf = image.detach().clone().requires_grad_()
        leads = self.objective.leads(classifier(leaf), batch.label, classifier.task)
        if answer is not None:
            (gradient,) = torch.autograd.grad(leads.gather(1, answer.unsqueeze(1)).sum(), leaf)
            return leads.detach().gather(1, answer.unsqueeze(1)).squeeze(1), gradient.nan_to_num(0, 0, 0)
        by_answer = [torch.autograd.grad(lead.sum(), leaf, retain_graph=True)[0] for lead in leads.unbind(1)]
        gradients = torch.stack(by_answer, 1).nan_to_num(0, 0, 0)
        dual = 1 if self.norm == "linf" else 2
        steep = gradients.flatten(2).norm(p=dual, dim=2).clamp(min=1e-12)
        chosen = (leads.detach().abs() / steep).argmin(1)
        rows = torch.arange(len(image), device=image.device)
        return leads.detach()[rows, chosen], gradients[rows, chosen]

    def _bisected(self, best: Candidates, batch: Batch, classifier: Classifier) -> Tensor:
        """Move images towards the clean ones by bisection while they stay adversarial, shape (B, C, H, W)."""
        low, high = torch.zeros_like(best.loss), torch.ones_like(best.loss)
        delta = best.image - batch.image
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            reached = self.reached(batch.image + column(middle) * delta, batch, classifier)
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        return torch.where(column(high < 1), batch.image + column(high) * delta, best.image)


def _nothing(image: Tensor) -> Candidates:
    """Candidates before a search; the loss is minus the distance of an adversarial image, -inf of others."""
    loss = image.new_full((len(image),), -torch.inf)
    return Candidates(image, loss > 0, loss)


def project(point: Tensor, normal: Tensor, offset: Tensor, norm: str) -> Tensor:
    """Nearest point in [0, 1] with <normal, z> + offset = 0; otherwise the corner closest to it.

    Args:
        point, normal: shape (B, C, H, W); points in [0, 1].
        offset: shape (B,).
        norm: linf or l2, by which they are near.
    """
    x, w = point.flatten(1), normal.flatten(1)
    excess = (w * x).sum(1) + offset
    down = w * excess.sign().unsqueeze(1)  # a step along its sign, turned round, lowers the excess
    room, speed = torch.where(down > 0, x, 1 - x), w.abs() if norm == "l2" else (w != 0).to(w)
    until = torch.where(speed > 0, room / speed.clamp(min=torch.finfo(w.dtype).tiny), 0)
    length = _length(until, w.abs() * speed, excess.abs())
    moved = torch.minimum(length.unsqueeze(1) * speed, room)
    return (x - down.sign() * moved).view_as(point)


def _length(until: Tensor, slope: Tensor, wanted: Tensor) -> Tensor:
    """Time at which the gain is reached, shape (B,); each pixel gains `slope` per unit of time until `until`.

    Args:
        until, slope: shape (B, N).
        wanted: shape (B,).
    """
    times, order = until.sort(1)
    slopes = slope.gather(1, order)
    still = slopes.flip(1).cumsum(1).flip(1)  # of those that have not stopped before this time
    gained = (still * torch.diff(times, dim=1, prepend=torch.zeros_like(times[:, :1]))).cumsum(1)
    segment = torch.searchsorted(gained, wanted.unsqueeze(1)).clamp(max=times.shape[1] - 1)
    short = (gained.gather(1, segment) - wanted.unsqueeze(1)).clamp(min=0)  # what is gained too much by then
    rate = still.gather(1, segment).clamp(min=torch.finfo(slope.dtype).tiny)
    return (times.gather(1, segment) - short / rate).clamp(min=0).squeeze(1)
