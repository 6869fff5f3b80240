"""Attacks through few parameters: a patch, sparse pixels, a field of light, low frequencies; components of a user.

They are families of attacks that no detector of this project was designed or fitted for.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from dovision.attacks.losses import margin
from dovision.functional.rng import uniform
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Epsilons


class IndirectAttack(Attack):
    """Ascent of the margin by the sign of its gradient, over parameters in [-1, 1] from which a change is made.

    Args:
        eps: the largest change of a pixel's value, in pixel units.
        steps: gradients per image; the step size falls linearly from a half to zero.
        seed: of random draws, which depend on (seed, sample) alone.
    """

    norms = ("linf",)

    def __init__(self, eps: Epsilons, steps: int, seed: int = 0) -> None:
        super().__init__(eps, "linf")
        self.steps, self.seed = steps, seed

    @abstractmethod
    def start(self, batch: Batch, classifier: Classifier) -> Tensor:
        """First parameters in [-1, 1], of which the first dimension is B."""

    @abstractmethod
    def changed(self, batch: Batch, parameters: Tensor, eps: float) -> Tensor:
        """Images, shape (B, C, H, W), as the parameters change them by at most eps, differentiable in these."""

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        parameters = self.start(batch, classifier)
        best, highest = batch.image, torch.full_like(batch.sample, -torch.inf, dtype=torch.float32)
        for step in range(self.steps + 1):
            parameters.requires_grad_()
            image = self.changed(batch, parameters, eps).clamp(0, 1)
            value = margin(classifier(image), batch.label, classifier.task)
            (gradient,) = torch.autograd.grad(value.sum(), parameters)
            better = value.detach() > highest
            best = torch.where(better.view(-1, 1, 1, 1), image.detach(), best)
            highest = torch.where(better, value.detach(), highest)
            size = 0.5 * (1 - step / self.steps)
            parameters = (parameters.detach() + size * gradient.sign()).clamp(-1, 1)
        return best


class _Content(IndirectAttack):
    """Other content of some pixels, those of the mask; eps 1 allows any."""

    @abstractmethod
    def mask(self, batch: Batch, classifier: Classifier) -> Tensor:
        """Pixels that may change, shape (B, 1, H, W), 0 or 1."""

    def start(self, batch: Batch, classifier: Classifier) -> Tensor:
        self.pixels = self.mask(batch, classifier)
        return 2 * batch.image - 1

    def changed(self, batch: Batch, parameters: Tensor, eps: float) -> Tensor:
        return batch.image + eps * self.pixels * ((parameters + 1) / 2 - batch.image)


class Patch(_Content):
    """A square patch at a random place.

    Args:
        eps, steps, seed: as of IndirectAttack.
        side: of the patch, in pixels.

    Source: arXiv:1712.09665, here one patch an image and at one place.
    """

    def __init__(self, eps: Epsilons, steps: int, side: int, seed: int = 0) -> None:
        super().__init__(eps, steps, seed)
        self.side = side

    def mask(self, batch: Batch, classifier: Classifier) -> Tensor:
        height, width = batch.image.shape[-2:]
        room = torch.tensor([height - self.side + 1, width - self.side + 1])
        corner = (uniform((2,), self.seed, batch.sample) * room).long().to(batch.image.device)
        inside = []
        for length, start in zip((height, width), corner.unbind(1), strict=True):
            offset = torch.arange(length, device=start.device) - start.unsqueeze(1)
            inside.append((offset >= 0) & (offset < self.side))
        rows, columns = inside
        return (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1).to(batch.image)


class Sparse(_Content):
    """The pixels with the largest gradient of the margin, in all channels.

    Args:
        eps, steps, seed: as of IndirectAttack.
        count: of the pixels.

    Source: the idea of arXiv:1811.02248, with the number of pixels given.
    """

    def __init__(self, eps: Epsilons, steps: int, count: int, seed: int = 0) -> None:
        super().__init__(eps, steps, seed)
        self.count = count

    def mask(self, batch: Batch, classifier: Classifier) -> Tensor:
        image = batch.image.clone().requires_grad_()
        value = margin(classifier(image), batch.label, classifier.task).sum()
        (gradient,) = torch.autograd.grad(value, image)
        size = gradient.abs().sum(1).flatten(1)
        marked = torch.zeros_like(size).scatter_(1, size.topk(self.count).indices, 1)
        return marked.view(-1, 1, *image.shape[-2:])


class _Smooth(IndirectAttack):
    """A smooth field, interpolated from a coarse grid of cells x cells numbers."""

    channels: int | None = None  # of the field; None: those of the image

    def __init__(self, eps: Epsilons, steps: int, cells: int, seed: int = 0) -> None:
        super().__init__(eps, steps, seed)
        self.cells = cells

    def start(self, batch: Batch, classifier: Classifier) -> Tensor:
        channels = self.channels or batch.image.shape[1]
        draws = uniform((channels, self.cells, self.cells), self.seed, batch.sample)
        return (draws * 2 - 1).to(batch.image)

    def field(self, batch: Batch, parameters: Tensor) -> Tensor:
        """The field at each pixel, in [-1, 1]."""
        return functional.interpolate(parameters, batch.image.shape[-2:], mode="bilinear", align_corners=True)


class Lighting(_Smooth):
    """Light that varies smoothly: each pixel is multiplied by 1 + eps times the field, the same in all channels.

    Args:
        eps, steps, seed: as of IndirectAttack.
        cells: of a row and of a column of the coarse grid.
    """

    channels = 1

    def changed(self, batch: Batch, parameters: Tensor, eps: float) -> Tensor:
        return batch.image * (1 + eps * self.field(batch, parameters))


class LowFrequency(_Smooth):
    """A smooth change: eps times the field is added.

    Args:
        eps, steps, seed, cells: as of Lighting.

    Source: the idea of arXiv:1809.08758.
    """

    def changed(self, batch: Batch, parameters: Tensor, eps: float) -> Tensor:
        return batch.image + eps * self.field(batch, parameters)
