"""Foolbox's attacks, as attacks with a budget."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.attacks._objective import NearestAttack, Objective
from dovision.attacks.lp_ball import Ball
from dovision.functional.rng import seeded
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons

_NEVER = -1e6  # a logit below all that classifiers give, yet finite: foolbox multiplies it
_STARTS = {"directions": 100, "steps": 50}  # noise images that a walk along the boundary may begin with
_DEFAULTS: Mapping[str, object] = {
    "abort_early": False,  # it looks at the batch's loss: an image's result would depend on the others
    "decision_rule": "L1",  # of EAD
}


class FoolboxAttack(NearestAttack):
    """Attack of foolbox: within epsilon, or the nearest adversarial image, as by Carlini and Wagner, EAD, ...

    An attack that begins at a wrong answer begins at noise; an image for which no such noise is found stays as it is.

    Args:
        method: the name of a class of `foolbox.attacks`, such as "L2CarliniWagnerAttack", the class, or an object.
        eps: as of Attack, in the norm of the method.
        settings: of the class, by name, as foolbox has them, but for `abort_early`: False unless it is given.
        alone: attack images one at a time, as a method that draws at random needs: foolbox shares its draws between the
            images of a batch. They depend on (seed, sample) alone then.
        target: as of NearestAttack.
        seed: of all draws.

    Raises:
        ImportError: foolbox is not installed.
        ValueError: it has no such method, or the method no such setting.

    Source: Rauber et al., arXiv:1707.04131; each class names the work that it follows.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.FoolboxAttack("L2CarliniWagnerAttack", eps=0.5, settings={"steps": 5})(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms = ("linf", "l2", "l1")

    def __init__(
        self,
        method: Any,
        eps: Epsilons,
        settings: Mapping[str, Any] | None = None,
        alone: bool = True,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        library = checks.import_extra("foolbox", "attacks").attacks
        base = (library.base.MinimizationAttack, library.base.FixedEpsilonAttack)
        usable = {
            name: item for name, item in vars(library).items() if inspect.isclass(item) and issubclass(item, base)
        }
        if isinstance(method, base):
            if settings:
                raise ValueError("settings must be those of the object. Give its class, or leave them out.")
            self.peer = copy.copy(method)
        else:
            is_class = inspect.isclass(method) and issubclass(method, base)
            make = method if is_class else usable[checks.choice("method", method, usable)]
            legal = inspect.signature(make).parameters
            for key, value in (settings or {}).items():
                checks.choice(f"settings of {make.__name__}", key, legal)
                if type(legal[key].default) in (int, float):
                    checks.at_least(key, value, 0)
            defaults = {key: value for key, value in _DEFAULTS.items() if key in legal}
            self.peer = make(**{**defaults, **(settings or {})})
        self.method = type(self.peer).__name__
        super().__init__(eps, f"l{self.peer.distance.p}", target)
        self.alone = alone
        self.seed = checks.seed(seed)
        if getattr(self.peer, "init_attack", self) is None:
            self.peer.init_attack = library.LinearSearchBlendedUniformNoiseAttack(**_STARTS)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        if not self.alone:
            return self._moved(batch, classifier, eps)
        attacked = []
        for row, sample in enumerate(batch.sample.tolist()):
            with seeded(batch.image.device, self.seed, sample):  # foolbox draws from torch's own state
                attacked.append(self._moved(batch.rows([row]), classifier, eps))
        return torch.cat(attacked)

    def _moved(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        """Images of a method that moves them by epsilon, or the nearest adversarial ones."""
        foolbox = checks.import_extra("foolbox", "attacks")
        if not isinstance(self.peer, foolbox.attacks.base.FixedEpsilonAttack):
            return super().run(batch, classifier, eps)
        model, criterion = self._posed(foolbox, batch, classifier)
        return Ball(batch.image, eps, self.norm).project(
            self.peer.run(model, batch.image, criterion, epsilon=eps).detach()
        )

    def _posed(self, foolbox: Any, batch: Batch, classifier: Classifier) -> tuple[Any, Any]:
        """Model and criterion of foolbox for the attack's aim."""
        question = Question(classifier, batch.label, self.objective)
        model = foolbox.PyTorchModel(question.eval(), bounds=(0, 1), device=batch.image.device)
        return model, foolbox.criteria.Misclassification(torch.zeros_like(batch.sample, device=batch.image.device))

    def nearest(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        model, criterion = self._posed(checks.import_extra("foolbox", "attacks"), batch, classifier)
        image, starts = batch.image.clone(), dict[str, Any]()
        if (begin := getattr(self.peer, "init_attack", None)) is not None:
            starts = {"starting_points": begin.run(model, image, criterion)}
            if not criterion(starts["starting_points"], model(starts["starting_points"])).all():
                return image
        nearest: Tensor = self.peer.run(model, image, criterion, **starts).detach()
        return torch.where(nearest.flatten(1).any(1).view(-1, 1, 1, 1), nearest, image)  # black: nothing was found


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
