"""The backbone of a classifier, frozen for some epochs while the last layer is fitted."""

from __future__ import annotations

from torch import nn

from dovision.interfaces import Classifier


class FrozenBackbone:
    """Freeze and release all layers except the last one with parameters.

    Frozen layers get no gradient and are in eval mode, so that running statistics and weights stay as they are;
    released ones are as they were before.

    Raises:
        ValueError: the last layer with parameters does not give the logits.
    """

    def __init__(self, classifier: Classifier) -> None:
        layers = [module for module in classifier.network.modules() if list(module.parameters(recurse=False))]
        classes, weight = len(classifier.task.classes), getattr(layers[-1], "weight", None) if layers else None
        if weight is None or len(weight) != classes:
            got = f"{type(layers[-1]).__name__}" if layers else "none"
            raise ValueError(
                f"frozen_epochs needs a network whose last layer with parameters gives the {classes} logits, got "
                f"{got}. Set it to 0."
            )
        head = layers[-1]
        around = [module for module in classifier.modules() if head in module.modules()]
        self._parameters = [p for p in classifier.parameters() if all(p is not other for other in head.parameters())]
        self._modules = [module for module in classifier.modules() if module not in around]
        self._before: tuple[list[nn.Parameter], list[nn.Module]] | None = None

    def freeze(self) -> None:
        """Freeze the layers that are not frozen yet."""
        if self._before is None:
            fitted = [member for member in self._parameters if member.requires_grad]
            self._before = fitted, [member for member in self._modules if member.training]
            self._set(*self._before, False)

    def release(self) -> None:
        """Restore what `freeze` has changed."""
        if self._before is not None:
            self._set(*self._before, True)
            self._before = None

    @staticmethod
    def _set(parameters: list[nn.Parameter], modules: list[nn.Module], fitted: bool) -> None:
        for parameter in parameters:
            parameter.requires_grad_(fitted)
            parameter.grad = None  # lest an optimizer steps by an old one
        for module in modules:
            module.training = fitted
