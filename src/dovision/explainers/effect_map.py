"""Effects of an intervention on the image, painted where its units lie."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.effects import SCALES, evidence
from dovision.interfaces import Classifier, Explainer, Images, Intervention
from dovision.propagation import CachedPropagation, Propagation
from dovision.types import INPUT, Batch


class EffectMap(Explainer):
    """Minus each unit's effect on the class, painted on its pixels: positive where evidence was removed.

    The mean where units overlap; zero where there is none.

    Args:
        intervention: on the image, each unit with a region, such as PixelGrid(14, 14).
        scale: probability or log_odds.
        chunk: (image, unit) pairs a pass, 16 at least; "auto" follows from shapes.

    Raises:
        ValueError: the intervention acts on a layer, or a unit of it has no region.

    Source: arXiv:1902.03380.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.EffectMap(dv.PixelGrid(4, 4))(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    counts_passes = True

    def __init__(self, intervention: Intervention, scale: str = "probability", chunk: int | str = "auto") -> None:
        if intervention.site != INPUT and type(intervention).on_image is Intervention.on_image:
            raise ValueError(
                f"intervention must act on the image, so that it can be painted there, got site {intervention.site!r}."
            )
        self.intervention = intervention
        self.scale = checks.choice("scale", scale, SCALES)
        self.propagation = CachedPropagation(intervention, chunk)

    def bind(self, images: Images, split: str) -> None:
        self.intervention.bind(images, split)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        batch = batch._replace(image=batch.image.detach())
        intervention = self.intervention.for_images(batch)
        if intervention is self.intervention:
            propagation = self.propagation(classifier)
        else:
            propagation = Propagation(classifier, intervention, self.propagation.chunk)
        done: list[int] = []
        outcome = propagation(batch, done.append)
        self._passes += sum(done)
        control, treated = (
            evidence(logits, classifier.task, self.scale) for logits in (outcome.control.unsqueeze(1), outcome.treated)
        )
        lost = (control - treated).take_along_dim(target.view(-1, 1, 1), dim=2)[:, :, 0].tolist()
        shape, samples = tuple(batch.image.shape[1:]), batch.sample.tolist()
        for unit, name in enumerate(outcome.units):
            if any(intervention.on_image(shape, unit, sample) is None for sample in samples):
                raise ValueError(
                    f"each unit of intervention must have a region to be painted on, got none for {name!r}."
                )
        maps = [intervention.on_pixels(shape, *pair) for pair in zip(samples, lost, strict=True)]
        return torch.from_numpy(np.stack(maps)).to(batch.image)
