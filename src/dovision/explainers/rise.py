"""RISE: random masks, weighted by what the class has left of the image under each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.functional.effects import SCALES, evidence
from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch


class RISE(Explainer):
    """Mean class evidence over random masks that show a pixel, minus the mean over all masks.

    A mask is a coarse grid of zeros and ones, enlarged and shifted at random; what it does not show fades to black.
    The difference makes maps positive and negative; it changes no order of the pixels of a map.

    Args:
        seed: of the masks; the same seed and sample give the same masks.
        masks: per image.
        cells: of a mask, a side.
        shown: the probability that a cell is shown.
        scale: probability, as in the source, or log_odds.
        batch_size: masked images a pass; the map depends on it in its last bits.

    Source: Petsiuk et al., arXiv:1806.07421.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.RISE(seed=0, masks=20, cells=4)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self,
        seed: int,
        masks: int = 500,
        cells: int = 7,
        shown: float = 0.5,
        scale: str = "probability",
        batch_size: int = 16,
    ) -> None:
        self.seed = checks.seed(seed)
        self.masks = checks.positive_int("masks", masks)
        self.cells = checks.positive_int("cells", cells)
        self.shown = checks.within("shown", shown, 0, 1)
        self.scale = checks.choice("scale", scale, SCALES)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    @torch.no_grad()
    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        pairs = zip(batch.image, batch.sample.tolist(), target.tolist(), strict=True)
        return torch.stack([self._map(*item, classifier) for item in pairs])

    def _map(self, image: Tensor, sample: int, label: int, classifier: Classifier) -> Tensor:
        masks = self._masks(sample, image)
        score = torch.cat(
            [
                evidence(classifier(image * chunk), classifier.task, self.scale)[:, label]
                for chunk in torch.split(masks, self.batch_size)
            ]
        )
        weighted = torch.einsum("n,nhw->hw", score, masks[:, 0])
        return weighted / masks[:, 0].sum(0).clamp(min=1e-6) - score.mean()

    def _masks(self, sample: int, image: Tensor) -> Tensor:
        """Masks in [0, 1], shape (masks, 1, H, W)."""
        height, width = image.shape[1:]
        random = generator(self.seed, sample)
        grids = (torch.rand(self.masks, 1, self.cells, self.cells, generator=random) < self.shown).float()
        cell = -(-height // self.cells), -(-width // self.cells)  # pixels
        size = height + cell[0], width + cell[1]
        down, across = (torch.randint(pixels, (self.masks,), generator=random).tolist() for pixels in cell)
        large = F.interpolate(grids.to(image), size=size, mode="bilinear", align_corners=False)
        shifted = zip(large, down, across, strict=True)
        return torch.stack([one[:, y : y + height, x : x + width] for one, y, x in shifted])
