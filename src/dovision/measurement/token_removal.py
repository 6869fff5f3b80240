"""Removal of an image's cells by leaving out a vision transformer's tokens, for deletion and insertion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation import CachedPropagation
from dovision.propagation.tokens import token_grid
from dovision.types import TOKENS, Batch, Mask, Shape


class TokenRemoval:
    """Logits of an image without the tokens of some cells.

    A token belongs to the cell that its patch's centre lies in. Those that stand for no patch, as of the class, stay.

    Source: Jain et al., Missingness bias in model debugging, arXiv:2204.08945.
    """

    def __init__(self) -> None:
        self._steps = _CellsLeftOut()
        self._propagation = CachedPropagation(self._steps)

    def __call__(self, classifier: Classifier, batch: Batch, removed: Mask) -> Tensor:
        """Logits, shape (S, K), of one image without the cells removed at each step.

        Args:
            classifier: a vision transformer of which each block attends over all tokens.
            batch: of one image.
            removed: shape (S, rows, columns).

        Raises:
            ValueError: the network is none such, or has no token besides those of patches; there are fewer rows or
                columns of tokens than of cells.
        """
        self._steps.removed = removed
        return self._propagation(classifier)(batch).treated[0]

    def curves(self, classifier: Classifier, batch: Batch, removed: Mask) -> Tensor:
        """Logits without the cells removed at each step, then of these alone, shape (2 S, K); as `__call__`."""
        return self(classifier, batch, np.concatenate([removed, ~removed]))

    def check(self, classifier: Classifier, shape: Shape, cells: int) -> None:
        """Raise if a network, possibly on the meta device, cannot drop tokens of images of shape (C, H, W)."""
        number = torch.zeros(1, dtype=torch.int64)
        image = torch.zeros(1, *shape, device=classifier.mean.device, dtype=classifier.mean.dtype)
        half = np.arange(cells * cells).reshape(1, cells, cells) % 2 == 0
        self(classifier, Batch(image, number, number, number), np.concatenate([half, np.ones_like(half)]))


class _CellsLeftOut(Intervention):
    """do(step): the tokens of the cells removed at this step skip the blocks."""

    site = TOKENS
    unit = "token"
    shortens = True
    removed: Mask  # (S, rows, columns)

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(map(str, range(len(self.removed))))

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape, (rows, columns) = tuple(context.batch.image.shape[1:]), self.removed.shape[1:]
        grid = token_grid(value.shape[2], context.classifier, shape)
        if rows > grid.rows or columns > grid.columns:
            raise ValueError(
                f"cells must be at most those of the tokens, {grid.rows} x {grid.columns}, where tokens are removed, "
                f"got {rows} x {columns}. Set cells, or removal=paint."
            )
        if not grid.prefix:
            raise ValueError(
                "tokens can be removed from a network with a class token, got one that averages those of patches, of "
                "which the last step leaves none. Set removal=paint."
            )
        removed = torch.from_numpy(self.removed[unit].ravel())
        return grid.kept(value, ~removed[grid.cells(shape, rows, columns)])
