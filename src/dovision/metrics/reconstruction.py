"""The quality of an autoencoder as a metric: how much of the activations it explains, and by how many latents."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.metrics._mean import PlottedMetric


class ReconstructionQuality(PlottedMetric):
    """Explained variance, active latents and dead latents of an autoencoder, over positions of any number of images.

    compute() has shape (3,), float64, nan before the first position; `names` are those of its numbers. The explained
    variance is 1 less the share of the activations' variance, over all positions and channels, that the residual has;
    l0 the mean number of latents other than 0 at a position; dead_share the share of latents that are 0 at all of them.

    Args:
        num_channels: C, of the activations.
        num_latents: L, of the code.

    Example:
        >>> import torch
        >>> from dovision.metrics import ReconstructionQuality
        >>> metric = ReconstructionQuality(num_channels=1, num_latents=4)
        >>> activation = torch.tensor([[0.0], [4.0]])
        >>> metric.update(activation, output=torch.tensor([[1.0], [3.0]]), code=torch.tensor([[2.0, 0, 0, 0]] * 2))
        >>> metric.compute()
        tensor([0.7500, 1.0000, 0.7500], dtype=torch.float64)
    """

    names = ("explained_variance", "l0", "dead_share")
    residual: Tensor  # scalar, sum of squares
    total: Tensor  # (C,) sum of activations
    squares: Tensor  # (C,) sum of their squares
    size: Tensor  # (L,) sum of the absolute values of a latent
    active: Tensor  # (L,) positions at which a latent is not 0
    count: Tensor  # scalar, positions

    def __init__(self, num_channels: int, num_latents: int) -> None:
        super().__init__()
        channels = checks.positive_int("num_channels", num_channels)
        latents = checks.positive_int("num_latents", num_latents)
        for name, shape in (("residual", ()), ("total", channels), ("squares", channels), ("size", latents)):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        for name, shape in (("active", latents), ("count", ())):
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, activation: Tensor, output: Tensor, code: Tensor) -> None:
        """Add positions: activations and their reconstructions, shape (P, C), and codes, shape (P, L)."""
        checks.same_shape(activation=activation, output=output)
        activation = activation.double()
        self.residual += (activation - output).square().sum()
        self.total += activation.sum(0)
        self.squares += activation.square().sum(0)
        self.size += code.abs().sum(0, dtype=torch.float64)
        self.active += (code != 0).sum(0)
        self.count += len(code)

    def compute(self) -> Tensor:
        variance = (self.squares - self.total.square() / self.count).sum()
        dead = (self.active == 0).double().mean().masked_fill(self.count == 0, torch.nan)
        return torch.stack([1 - self.residual / variance, self.active.sum() / self.count.double(), dead])

    def activity(self) -> Tensor:
        """The mean size of each latent over the positions, shape (L,)."""
        return self.size / self.count
