"""The part that fits of autoencoders share: a frozen classifier, with the autoencoder inserted and without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from torch import nn

from dovision.interfaces import Classifier
from dovision.models.conv_autoencoder import inserted_autoencoder
from dovision.training.fitted_module import FittedModule, MakeOptimizer
from dovision.training.schedule import Schedule

Self = TypeVar("Self", bound="AutoencoderModule")


class AutoencoderModule(FittedModule):
    """Fit an autoencoder alone; the classifier's parameters, buffers and eval mode stay as they are.

    Args:
        plain: the classifier without the autoencoder.
        with_autoencoder: the same classifier with the autoencoder.
        optimizer: from parameters to an optimizer.
        schedule: of the step size; None: as the optimizer has it.
        warmup_steps: steps over which the step size rises to what optimizer and schedule make it.
    """

    def __init__(
        self,
        reference_classifier: Classifier,
        with_autoencoder: Classifier,
        optimizer: MakeOptimizer,
        schedule: Schedule | None = None,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(optimizer, schedule, warmup_steps)
        self.reference_classifier = reference_classifier.eval().requires_grad_(False)
        self.with_autoencoder = with_autoencoder.eval().requires_grad_(False)
        self.autoencoder = inserted_autoencoder(with_autoencoder).requires_grad_(True)

    def train(self: Self, mode: bool = True) -> Self:
        """Only the autoencoder is ever in train mode: batch-norm and dropout of the classifier never are."""
        super().train(mode)
        self.reference_classifier.eval()
        self.with_autoencoder.eval()
        self.autoencoder.train(mode)
        return self

    def fitted_parameters(self) -> Iterable[nn.Parameter]:
        return self.autoencoder.parameters()
