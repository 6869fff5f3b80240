"""Places of a vision transformer's tokens in the image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dovision.functional import geometry
from dovision.interfaces import Classifier
from dovision.types import Shape

MOST_PREFIX_TOKENS = 8  # class and register tokens, where the network does not say how many it has


class TokenGrid(NamedTuple):
    """Order of tokens: those without a patch (class, registers) first, then the patches, row by row."""

    prefix: int
    rows: int
    columns: int

    def maps(self, tokens: Tensor) -> Tensor:
        """Values of the patches, shape (B, C, rows, columns), from those of all tokens, shape (B, C, T)."""
        return tokens[:, :, self.prefix :].reshape(*tokens.shape[:2], self.rows, self.columns)

    def cells(self, shape: Shape, rows: int, columns: int) -> Tensor:
        """Cell in which the centre of each patch lies, shape (patches,) int64.

        Args:
            shape: (C, H, W) of the images.
            rows, columns: of the grid of cells, as of `geometry.grid_cell`.
        """
        row = _cells(self.rows, shape[1], rows)
        return (row[:, None] * columns + _cells(self.columns, shape[2], columns)).flatten()

    def kept(self, tokens: Tensor, stays: Tensor) -> Tensor:
        """Select tokens, shape (B, C, T), without a patch or with one that stays, bool (patches,)."""
        all_stay = torch.ones(self.prefix, dtype=torch.bool)
        return tokens.index_select(2, torch.cat([all_stay, stays]).nonzero().flatten().to(tokens.device))


def _cells(patches: int, length: int, cells: int) -> Tensor:
    """Cell in which the centre of each patch along a side of an image lies, shape (patches,)."""
    centre = (torch.arange(patches) + 0.5) * length / patches
    return torch.bucketize(centre, torch.from_numpy(geometry.cell_edges(length, cells)), right=True) - 1


def token_grid(tokens: int, classifier: Classifier, shape: Shape) -> TokenGrid:
    """The grid of so many tokens over images of shape (C, H, W).

    Raises:
        ValueError: they fill none of the image's aspect.
    """
    prefixes = [getattr(module, "num_prefix_tokens", None) for module in classifier.modules()]  # timm's networks say it
    declared = [number for number in prefixes if isinstance(number, int)]
    height, width = shape[1:]
    for prefix in declared[:1] or range(MOST_PREFIX_TOKENS + 1):
        rows = round((max(tokens - prefix, 0) * height / width) ** 0.5)
        if rows and rows * rows * width == (tokens - prefix) * height:
            return TokenGrid(prefix, rows, (tokens - prefix) // rows)
    raise ValueError(f"the network's {tokens} tokens must be a grid over the {height} x {width} image, but are none.")
