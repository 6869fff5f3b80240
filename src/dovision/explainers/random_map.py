"""A control: a map that knows nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch


class RandomMap(Explainer):
    """Each pixel drawn uniformly from [0, 1].

    Args:
        seed: of the draws; the same seed, sample and class give the same map.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        pairs = zip(batch.sample.tolist(), target.tolist(), strict=True)
        random = [generator(self.seed, sample, wanted) for sample, wanted in pairs]
        shape = batch.image.shape[2:]
        return torch.stack([torch.rand(shape, generator=one) for one in random]).to(batch.image)
