"""The mean of several explainers' maps, read as losses of probability, with their spread."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dovision.functional.effects import SCALES, evidence
from dovision.interfaces import Classifier, Explainer, Images
from dovision.types import Batch, Shape

PROBABILITY, LOG_ODDS = SCALES  # the latter is the scale of the maps that are combined, or logits


class CombinedMap(Explainer):
    """Unweighted mean of the maps of several explainers, such as effects with several fills.

    Each map is divided by its largest size. Their mean, times the mean of these sizes, is what the class loses in
    log-odds; the map is what it then loses in probability, so that maps of different images compare as effects do. The
    spread is large where it matters which of the explainers is asked.

    Args:
        explainers: at least two, by name, with maps in log-odds or logits.

    Raises:
        ValueError: there are fewer than two, one is no explainer, or its maps are in probability.

    Example:
        >>> classifier, digits = dv.example()
        >>> fills = {"black": dv.Constant(0.0), "mean": dv.Mean()}
        >>> parts = {name: dv.EffectMap(dv.PixelGrid(4, 4, fill), scale="log_odds") for name, fill in fills.items()}
        >>> dv.CombinedMap(parts).explain(digits, digits.label, classifier).spread.shape
        torch.Size([8, 8, 8])
    """

    counts_passes = True  # those of the explainers, and one for P(y | x)

    def __init__(self, explainers: Mapping[str, Explainer]) -> None:
        self.explainers = dict(explainers)
        if len(self.explainers) < 2:
            raise ValueError(f"explainers must be at least two, got {len(self.explainers)}. Name another one.")
        for name, explainer in self.explainers.items():
            if (scale := getattr(explainer, "scale", LOG_ODDS)) == PROBABILITY:
                raise ValueError(
                    f"explainers.{name}.scale must be {LOG_ODDS}, as that of all maps that are combined, got {scale}."
                )

    @property
    def passes(self) -> float:
        return 1 + sum(explainer.passes for explainer in self.explainers.values())

    @property
    def counts(self) -> tuple[int, int]:
        return round(self.passes * self._drawn) if self._drawn else 0, self._drawn

    def bind(self, images: Images, split: str) -> None:
        for explainer in self.explainers.values():
            explainer.bind(images, split)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        for explainer in self.explainers.values():
            explainer.check(classifier, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return self.run_each(batch, target, classifier).mean(1)

    def run_each(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        maps = torch.stack([explainer(batch, target, classifier) for explainer in self.explainers.values()], 1).double()
        size = maps.abs().amax((2, 3), keepdim=True)
        maps = maps / torch.where(size == 0, 1, size)
        mean = maps.mean(1, keepdim=True)
        lost = self._lost(mean * size.mean(1, keepdim=True), batch, target, classifier)
        return maps * torch.where(mean == 0, 0, lost / mean)  # of which `lost` is the mean

    @torch.no_grad()
    def _lost(self, log_odds: Tensor, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """Loss of class probability from loss of log-odds, shape (B, 1, H, W)."""
        control = evidence(classifier(batch.image).double(), classifier.task, LOG_ODDS)
        control = control.take_along_dim(target.unsqueeze(1), 1)[:, :, None, None]
        return control.sigmoid() - (control - log_odds).sigmoid()
