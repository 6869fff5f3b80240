"""Convolutions of 3 x 3 places by fewer multiplications, exact but for rounding.

A tile of 4 x 4 results takes 36 products of two channels in place of 144 (Winograd's minimal filtering): both the 6 x 6
values that the tile reads and the filter are transformed, multiplied place by place, and transformed back. Tiles lie on
a grid that starts at the map's first row and column, so that a result has the same bits in a window and in the map.

Source: arXiv:1509.09308; on the points, arXiv:1803.10986.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.propagation.kernels.rows import enough_rows

TILE_SIDE = 4  # results a side
_READ = TILE_SIDE + 2  # values that they are computed from
_POINTS = (0.0, 0.65, -0.65, 1.5, -1.5)  # half the rounding of 0, 1, -1, 2, -2
LEAST_CHANNELS = 128  # below, the transforms take as long as the products that are saved


def _transforms(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices of one axis: of what is read (6, 6), of the filter (6, 3), back (4, 6); the last point is infinity."""
    at = np.array(points)
    others = [np.delete(at, number) for number in range(len(at))]
    read = np.zeros((_READ, _READ))
    read[:-1, :-1] = [np.poly(each)[::-1] for each in others]
    read[-1] = np.poly(at)[::-1]
    products = np.array([np.prod(point - each) for point, each in zip(at, others, strict=True)])
    last = np.eye(_READ)[-1:]
    of_filter = np.concatenate([at[:, None] ** np.arange(3) / products[:, None], last[:, -3:]])
    back = np.concatenate([at[:, None] ** np.arange(TILE_SIDE), last[:, -TILE_SIDE:]]).T
    return read, of_filter, back


_OF_READ, _OF_FILTER, _BACK = (torch.from_numpy(np.kron(each, each)).float() for each in _transforms(_POINTS))


class Winograd:
    """A convolution of stride 1 with a filter of 3 x 3 places, on maps in channels_last.

    Args:
        weight: shape (K, C, 3, 3), float32.
        bias: shape (K,).
        padding: zeros around the map, above and below, and left and right.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> None:
        transformed = _OF_FILTER @ weight.reshape(-1, 9).T
        self.weight = transformed.view(_READ**2, *weight.shape[:2]).transpose(1, 2).contiguous()
        self.bias = bias
        self.padding = padding

    def __call__(self, input: Tensor) -> Tensor:
        """The convolution of whole maps, (N, C, H, W)."""
        (down, across), size = self.padding, input.shape[2:]
        height, width = size[0] + 2 * down - 2, size[1] + 2 * across - 2
        more = -height % TILE_SIDE, -width % TILE_SIDE
        padded = F.pad(input.movedim(1, -1), (0, 0, across, across + more[1], down, down + more[0]))
        return self.of_tiles(padded)[:, :height, :width].contiguous().movedim(-1, 1)

    def of_tiles(self, read: Tensor) -> Tensor:
        """The results of whole tiles, shape (N, H, W, K), from what they read, shape (N, H + 2, W + 2, C)."""
        images, channels = len(read), read.shape[3]
        down, across = ((size - 2) // TILE_SIDE for size in read.shape[1:3])
        image, row, column, _ = read.stride()
        tiles = read.as_strided(
            (_READ, _READ, images, down, across, channels),
            (row, column, image, TILE_SIDE * row, TILE_SIDE * column, read.stride(3)),
            read.storage_offset(),
        )
        transformed = (_OF_READ @ tiles.reshape(_READ**2, -1)).view(_READ**2, -1, channels)
        count = transformed.shape[1]
        products = torch.bmm(enough_rows(transformed), self.weight)[:, :count].reshape(_READ**2, -1)
        results = (_BACK @ products).view(TILE_SIDE, TILE_SIDE, images, down, across, -1)
        joined = results.permute(2, 3, 0, 4, 1, 5).contiguous().view(images, TILE_SIDE * down, TILE_SIDE * across, -1)
        return joined if self.bias is None else joined.add_(self.bias)
