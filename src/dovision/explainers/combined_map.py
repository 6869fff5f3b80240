"""The mean of several explainers' maps, with their spread."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Classifier, Explainer, Images
from dovision.types import Batch, Shape


class CombinedMap(Explainer):
    """Maps of several explainers, such as effects with several fills and scales, each divided by its largest size.

    The spread is large where it matters which of them is asked.

    Args:
        explainers: at least two, by name.

    Raises:
        ValueError: there are fewer than two, or one is no explainer.
    """

    counts_passes = True  # each of the explainers

    def __init__(self, explainers: Mapping[str, Explainer]) -> None:
        self.explainers = {
            name: checks.instance(f"explainers.{name}", each, Explainer, "an explainer such as EffectMap")
            for name, each in explainers.items()
        }
        if len(self.explainers) < 2:
            raise ValueError(f"explainers must be at least two, got {len(self.explainers)}. Name another one.")

    @property
    def passes(self) -> float:
        return sum(each.passes for each in self.explainers.values())

    def bind(self, images: Images, split: str) -> None:
        for each in self.explainers.values():
            each.bind(images, split)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        for each in self.explainers.values():
            each.check(classifier, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return self.run_each(batch, target, classifier).mean(1)

    def run_each(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        maps = torch.stack([each(batch, target, classifier) for each in self.explainers.values()], 1)
        largest = maps.abs().amax((2, 3), keepdim=True)
        return maps / torch.where(largest == 0, 1, largest)
