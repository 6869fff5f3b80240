"""Effects of an intervention on the image, painted where its units lie."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.functional.effects import SCALES, evidence
from dovision.interfaces import Classifier, Explainer, Intervention
from dovision.propagation import CachedPropagation
from dovision.types import INPUT, Batch, Box, Shape


class EffectMap(Explainer):
    """Minus the effect of each unit on the class, painted on the unit's region: positive where evidence was taken away.

    The mean where regions overlap; zero where there is none.

    Args:
        intervention: on the image, each unit with a region, such as PixelGrid(14, 14).
        scale: probability or log_odds.
        chunk: (image, unit) pairs a pass; "auto" follows from shapes. The map depends on it in its last bits.

    Raises:
        ValueError: the intervention acts on a layer, or a unit of it has no region.

    Source: arXiv:1902.03380.
    """

    def __init__(self, intervention: Intervention, scale: str = "probability", chunk: int | str = "auto") -> None:
        if intervention.site != INPUT:
            raise ValueError(
                f"intervention must act on the image, so that it can be painted there, got site {intervention.site!r}."
            )
        self.intervention = intervention
        self.scale = checks.choice("scale", scale, SCALES)
        self.propagation = CachedPropagation(intervention, chunk)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        batch = batch._replace(image=batch.image.detach())
        outcome = self.propagation(classifier)(batch)
        control, treated = (
            evidence(logits, classifier.task, self.scale) for logits in (outcome.control.unsqueeze(1), outcome.treated)
        )
        lost = (control - treated).take_along_dim(target.view(-1, 1, 1), dim=2)[:, :, 0]
        channels, height, width = batch.image.shape[1:]
        regions = [self._regions((channels, height, width), sample) for sample in batch.sample.tolist()]
        maps = [geometry.paint(height, width, *each) for each in zip(regions, lost.tolist(), strict=True)]
        return torch.from_numpy(np.stack(maps)).to(batch.image)

    def _regions(self, shape: Shape, sample: int) -> list[Box]:
        regions = []
        for unit, name in enumerate(self.intervention.units(shape)):
            region = self.intervention.region(shape, unit, sample)
            if region is None:
                raise ValueError(
                    f"each unit of intervention must have a region to be painted on, got none for {name!r}."
                )
            regions.append(region)
        return regions
