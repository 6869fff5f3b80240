"""Foolbox's attacks that look for the nearest adversarial image, as attacks with a budget."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.attacks._nearest import NearestAttack
from dovision.attacks._objective import Objective
from dovision.functional.rng import generator
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons

_NEVER = -1e6  # a logit below all that classifiers give, yet finite: foolbox multiplies it


class FoolboxAttack(NearestAttack):
    """Nearest adversarial image found by an attack of foolbox.

    Args:
        eps, norm, target: as of NearestAttack.

    Raises:
        ImportError: foolbox is not installed.
    """

    peer: Any  # the attack of foolbox

    def search(self, model: Any, image: Tensor, criterion: Any) -> Tensor:
        """Search adversarial images; model and criterion are foolbox's."""
        return self.peer.run(model, image, criterion)

    def nearest(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        foolbox, question = import_foolbox(), Question(classifier, batch.label, self.objective).eval()
        model = foolbox.PyTorchModel(question, bounds=(0, 1), device=batch.image.device)
        criterion = foolbox.criteria.Misclassification(torch.zeros_like(batch.sample))
        return self.search(model, batch.image.clone(), criterion).detach()


class CarliniWagner(FoolboxAttack):
    """The smallest perturbation in L2 by Adam on its size plus a constant times the margin.

    Args:
        eps, target: as of NearestAttack; eps is L2.
        steps: gradients per image and constant.
        searches: constants tried per image, by binary search.
        step_size: of Adam, in the space of arctanh of the pixels.
        confidence: by how much, in logits, the wanted answer must lead.
        first_constant: with which the search begins.

    Source: arXiv:1608.04644.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.CarliniWagner(eps=0.5, steps=5, searches=2)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        searches: int = 9,
        step_size: float = 0.01,
        confidence: float = 0.0,
        first_constant: float = 1e-3,
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, "l2", target)
        self.peer = import_foolbox().attacks.L2CarliniWagnerAttack(
            stepsize=checks.positive("step_size", step_size),
            **_constant_search(steps, searches, confidence, first_constant),
        )


class EAD(FoolboxAttack):
    """The smallest perturbation in L1, by an elastic net and the decision rule of L1.

    Args:
        eps, target: as of NearestAttack; eps is L1.
        steps: gradients per image and constant.
        searches: constants tried per image, by binary search.
        step_size: of the first step, in pixel units; it falls with the root of the steps that are left.
        confidence: by how much, in logits, the wanted answer must lead.
        first_constant: weight of the margin, with which the search begins.
        regularization: weight of the L1 norm beside the squared L2 norm; also how far a pixel must move to move at all.

    Source: Chen et al., AAAI 2018, arXiv:1709.04114; against feature squeezing, Sharma and Chen, arXiv:1803.09868.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.EAD(eps=5.0, steps=5, searches=2)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms = ("l1",)

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        searches: int = 9,
        step_size: float = 0.01,
        confidence: float = 0.0,
        first_constant: float = 1e-3,
        regularization: float = 1e-2,
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, "l1", target)
        self.peer = import_foolbox().attacks.EADAttack(
            initial_stepsize=checks.positive("step_size", step_size),
            regularization=checks.at_least("regularization", regularization, 0),
            decision_rule="L1",
            **_constant_search(steps, searches, confidence, first_constant),
        )

    def search(self, model: Any, image: Tensor, criterion: Any) -> Tensor:
        nearest = super().search(model, image, criterion)
        return torch.where(nearest.flatten(1).any(1).view(-1, 1, 1, 1), nearest, image)  # black: nothing was found


class Boundary(FoolboxAttack):
    """A random walk along the boundary of the classifier, ever nearer to the image.

    It sees decisions alone: no gradient, no probability. It begins at noise that is answered as wanted; an image for
    which no such noise is found stays as it is. Images are attacked one at a time, since foolbox shares its draws
    between the images of a batch.

    Args:
        eps, target: as of NearestAttack; eps is L2.
        steps: of the walk; each costs a forward pass, and every tenth two.
        starts: noise images tried to begin with.
        spherical_step: the first step around the image, as a share of the distance to it.
        source_step: the first step towards the image, as a share of the distance to it.
        seed: of all draws; they depend on (seed, sample) alone.

    Source: arXiv:1712.04248.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.Boundary(eps=0.5, steps=10)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        starts: int = 100,
        spherical_step: float = 0.1,
        source_step: float = 0.01,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, "l2", target)
        attacks = import_foolbox().attacks
        self.begin = attacks.LinearSearchBlendedUniformNoiseAttack(
            directions=checks.positive_int("starts", starts), steps=50
        )
        self.walk = attacks.BoundaryAttack(
            steps=checks.positive_int("steps", steps),
            spherical_step=checks.positive("spherical_step", spherical_step),
            source_step=checks.positive("source_step", source_step),
        )
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return torch.cat([self._alone(batch.rows([row]), classifier, eps) for row in range(len(batch.sample))])

    def _alone(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # foolbox draws from torch's own state
            torch.manual_seed(generator(self.seed, int(batch.sample)).initial_seed())
            return super().run(batch, classifier, eps)

    def search(self, model: Any, image: Tensor, criterion: Any) -> Tensor:
        start = self.begin.run(model, image, criterion)
        if not criterion(start, model(start)).all():
            return image
        return self.walk.run(model, image, criterion, starting_points=start)


class Question(nn.Module):
    """Classifier of the attack's aim: class 0 is "aim not reached", each other class a way to reach it.

    So a search for a misclassified image finds a wrong label of a multilabel task, or a target, as well. Of a
    multiclass task without a target the differences between logits are the classifier's. `label`, shape (B,) or (B, K),
    is that of the images that it will be shown.
    """

    def __init__(self, classifier: Classifier, label: Tensor, objective: Objective) -> None:
        super().__init__()
        self.classifier = classifier
        self.label = label
        self.objective = objective

    def forward(self, image: Tensor) -> Tensor:
        """Logits, shape (B, 1 + M), of images, shape (B, C, H, W)."""
        ways = self.objective.leads(self.classifier(image), self.label, self.classifier.task).clamp(min=_NEVER)
        return torch.cat([torch.zeros_like(ways[:, :1]), ways], 1)


def _constant_search(steps: int, searches: int, confidence: float, first_constant: float) -> dict[str, Any]:
    """Arguments shared by foolbox's attacks that search the weight of the margin."""
    return {
        "steps": checks.positive_int("steps", steps),
        "binary_search_steps": checks.positive_int("searches", searches),
        "confidence": checks.at_least("confidence", confidence, 0),
        "initial_const": checks.positive("first_constant", first_constant),
        "abort_early": False,  # it looks at the batch's loss: an image's result would depend on the others
    }


def import_foolbox() -> ModuleType:
    return checks.import_extra("foolbox", "attacks")
