"""A sparse autoencoder: the activation at each position as a sum of a few atoms of a large dictionary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dovision import checks
from dovision.functional.norms import keep_largest
from dovision.interfaces import Autoencoder
from dovision.types import Layout

EXPANSIONS = (4, 32)  # least and largest size of a dictionary, in widths of the layer
fx.wrap("keep_largest")  # one step of a trace, which propagation carries position by position
LAYOUTS = [layout.value for layout in Layout if layout is not Layout.NHTC]


class TopkSae(Autoencoder):
    """Sparse autoencoder: the k largest latents of each position, decoded as a sum of atoms.

        z = TopK(ReLU(E (h - b)))    h' = D z + b    E is (latents, channels); the columns of D, the atoms, have norm 1

    The loss is the share of the variance of h that h' leaves, and a term by which dead latents learn what the others
    leave. After the fit the latents are in the order of their activity, the most active one first.

    Args:
        after: the layer of a network whose output passes through it.
        channels: of the layer's output.
        expansion: latents for each channel, from 4 to 32.
        k: latents at most that are active at a position.
        dead_after: images of the fit after which a latent that was active on none of them counts as dead.
        k_aux: dead latents at most that take part at a position in the term of the dead; None: half of `channels`.
        auxiliary: weight of that term.
        layout: of the layer's output and of the code: NCHW, NHWC, NTC, NCT or NC.

    Source: Gao et al., Scaling and evaluating sparse autoencoders, arXiv:2406.04093, sections 2.3, 2.4 and A.2; b
    begins as the mean of the first batch, not as a geometric median.

    Example:
        >>> import torch
        >>> autoencoder = dv.TopkSae("relu", channels=16, expansion=4, k=4, dead_after=100)
        >>> autoencoder(torch.rand(2, 16, 3, 3)).shape
        torch.Size([2, 16, 3, 3])
    """

    loss_terms = ("reconstruction", "auxiliary")
    started: Tensor  # scalar bool, whether b has been set
    idle: Tensor  # (latents,) int64, images of the fit since a latent was active
    activity: Tensor  # (latents,) mean over the positions of the validation images

    def __init__(
        self,
        after: str,
        channels: int,
        expansion: int,
        k: int,
        dead_after: int,
        k_aux: int | None = None,
        auxiliary: float = 1 / 32,
        layout: str = "NCHW",
    ) -> None:
        super().__init__()
        self.after = after
        self.width = checks.positive_int("autoencoder.channels", channels, 1 << 16)
        self.code_channels = channels * checks.bounded("autoencoder.expansion", expansion, *EXPANSIONS)
        self.dead_after = checks.positive_int("autoencoder.dead_after", dead_after, checks.MOST_IMAGES)
        self.k_aux = max(1, channels // 2) if k_aux is None else checks.positive_int("autoencoder.k_aux", k_aux)
        self.auxiliary = checks.at_least("autoencoder.auxiliary", auxiliary, 0)
        self.layout = Layout(checks.choice("autoencoder.layout", layout, LAYOUTS))
        axis = -1 if self.layout in (Layout.NHWC, Layout.NTC) else 1
        atoms = F.normalize(torch.randn(channels, self.code_channels), dim=0)
        bias = nn.Parameter(torch.zeros(channels))  # of both
        k = checks.bounded("autoencoder.k", k, 1, self.code_channels)
        self.encoder: _Encoder = _Encoder(atoms.T.clone(), bias, k, axis)
        self.decoder: _Decoder = _Decoder(atoms, bias, axis)
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("idle", torch.zeros(self.code_channels, dtype=torch.int64))
        self.register_buffer("activity", torch.zeros(self.code_channels))

    def losses(self, activation: Tensor) -> dict[str, Tensor]:
        """Shares of the activations' variance that the code, and then the dead latents, leave unexplained; scalars."""
        positions = self.encoder.positions(activation).flatten(0, -2)
        if self.training and not self.started:
            self._start(positions)
        latents = self.encoder.latents(positions)
        code = keep_largest(latents, self.encoder.k)
        left = positions - self.decoder.atoms_sum(code) - self.decoder.bias
        if self.training:
            self.idle.add_(len(activation)).masked_fill_((code > 0).any(0), 0)
        variance = (positions - positions.mean(0)).square().sum().clamp_min(torch.finfo(positions.dtype).tiny)
        dead = self._left_by_the_dead(latents, left.detach())
        return {"reconstruction": left.square().sum() / variance, "auxiliary": self.auxiliary * dead / variance}

    def after_step(self) -> None:
        """Normalise all atoms to norm 1."""
        with torch.no_grad():
            self.decoder.weight.copy_(F.normalize(self.decoder.weight, dim=0))

    def after_validation(self, activity: Tensor) -> None:
        self.activity.copy_(activity)

    @torch.no_grad()
    def after_fit(self) -> None:
        """Sort the latents by activity."""
        order = self.activity.argsort(descending=True, stable=True)
        for values in (self.encoder.weight, self.idle, self.activity):
            values.copy_(values[order])
        self.decoder.weight.copy_(self.decoder.weight[:, order])

    @torch.no_grad()
    def _start(self, positions: Tensor) -> None:
        self.decoder.bias.copy_(positions.mean(0))
        self.started.fill_(True)

    def _left_by_the_dead(self, latents: Tensor, left: Tensor) -> Tensor:
        """Squared error of the residual after its fit by the largest dead latents, shape (positions, channels)."""
        (dead,) = torch.where(self.idle >= self.dead_after)
        if not len(dead):
            return left.new_zeros(())
        code = keep_largest(latents[:, dead], min(self.k_aux, len(dead)))
        return (left - code @ self.decoder.weight[:, dead].T).square().sum()


class _Encoder(nn.Module):
    """Encoder from a layer's output to the code: the channels become latents, all other axes stay."""

    def __init__(self, weight: Tensor, bias: nn.Parameter, k: int, axis: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)  # (latents, channels)
        self.bias = bias  # (channels,)
        self.k = k
        self.axis = axis

    def positions(self, value: Tensor) -> Tensor:
        """The value with its channels last."""
        return value.movedim(self.axis, -1)

    def latents(self, positions: Tensor) -> Tensor:
        """All latents before top-k, (..., channels) to (..., latents)."""
        return F.relu(F.linear(positions - self.bias, self.weight))

    def forward(self, activation: Tensor) -> Tensor:
        return keep_largest(self.latents(self.positions(activation)), self.k).movedim(-1, self.axis)


class _Decoder(nn.Module):
    """Decoder from the code to a value as shaped as the layer's output."""

    def __init__(self, weight: Tensor, bias: nn.Parameter, axis: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)  # (channels, latents)
        self.bias = bias  # (channels,)
        self.axis = axis

    def atoms_sum(self, code: Tensor) -> Tensor:
        """Sums of atoms, (..., latents) to (..., channels)."""
        return F.linear(code, self.weight)

    def forward(self, code: Tensor) -> Tensor:
        return (self.atoms_sum(code.movedim(self.axis, -1)) + self.bias).movedim(-1, self.axis)
