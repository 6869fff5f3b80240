"""Self-attention of all tokens, and of those of a window, with packed projections and a fused product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.propagation.kernels.packed_linear import PackedLinear

_Size = tuple[int, int]
_FAR = -100.0  # added to the score of tokens of a window that are no neighbours in the map, as torchvision has it


class PackedAttention:
    """Self-attention of tokens, shape (N, T, C), as torch's `nn.MultiheadAttention` without masks.

    Where scores overflow, torch's module gives nan, and this one numbers.

    Args:
        into: weights of the projection to queries, keys and values, shape (3 C, C), and bias, shape (3 C,).
        back: weights of the projection of what the heads have read, shape (C, C), and bias, shape (C,).
        heads: number of heads.
    """

    def __init__(self, into: tuple[Tensor, Tensor | None], back: tuple[Tensor, Tensor | None], heads: int) -> None:
        self.into, self.back = (
            PackedLinear(weight.detach(), None if bias is None else bias.detach()) for weight, bias in (into, back)
        )
        self.heads = heads

    def __call__(self, tokens: Tensor) -> Tensor:
        query, key, value = self._of_heads(tokens)
        return self.back(_merged(F.scaled_dot_product_attention(query, key, value)))

    def _of_heads(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each of shape (N, heads, T, C / heads)."""
        images, positions, channels = tokens.shape
        projected = self.into(tokens).view(images, positions, 3, self.heads, channels // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value


class PackedWindowAttention(PackedAttention):
    """Attention inside the windows of maps, shape (N, H, W, C), as torchvision's `shifted_window_attention`.

    Args:
        into, back, heads: as of PackedAttention.
        bias: of the scores, shape (1, heads, T, T), of the T tokens of a window.
        window: rows and columns.
        shift: rows and columns by which the windows are moved.
    """

    def __init__(
        self,
        into: tuple[Tensor, Tensor | None],
        back: tuple[Tensor, Tensor | None],
        heads: int,
        bias: Tensor,
        window: Sequence[int],
        shift: Sequence[int],
    ) -> None:
        super().__init__(into, back, heads)
        self.bias, self.window, self.shift = bias.detach(), (window[0], window[1]), (shift[0], shift[1])
        self._scores: dict[_Size, Tensor] = {}  # what is added to them, by the size of the map

    def __call__(self, maps: Tensor) -> Tensor:
        images, height, width, channels = maps.shape
        rows, columns = self.window
        padded = F.pad(maps, (0, 0, 0, -width % columns, 0, -height % rows))
        size = (padded.shape[1], padded.shape[2])
        down, across = (0 if self.window[axis] >= size[axis] else self.shift[axis] for axis in (0, 1))
        moved = padded.roll((-down, -across), (1, 2)) if down or across else padded
        windows = moved.view(images, size[0] // rows, rows, size[1] // columns, columns, channels).transpose(2, 3)
        read = self._read(windows.reshape(-1, rows * columns, channels), size, (down, across))
        whole = read.view(windows.shape).transpose(2, 3).reshape(padded.shape)
        back = whole.roll((down, across), (1, 2)) if down or across else whole
        return back[:, :height, :width].contiguous()

    def _read(self, tokens: Tensor, size: _Size, shift: _Size) -> Tensor:
        """Attend inside all windows; tokens of the same shape."""
        query, key, value = self._of_heads(tokens)
        if not any(shift):
            return self.back(_merged(F.scaled_dot_product_attention(query, key, value, self.bias)))
        if size not in self._scores:
            self._scores[size] = self.bias + _far(size, self.window, shift, self.bias.dtype).unsqueeze(1)
        added = self._scores[size]
        read = [  # the windows of one map at a time, which have these scores in common
            _merged(F.scaled_dot_product_attention(query[windows], key[windows], value[windows], added))
            for windows in (slice(first, first + len(added)) for first in range(0, len(tokens), len(added)))
        ]
        return self.back(torch.cat(read))


def _far(size: _Size, window: _Size, shift: _Size, dtype: torch.dtype) -> Tensor:
    """Attention mask of each window of cyclically shifted maps, shape (windows, T, T)."""
    down, across = (
        (torch.arange(side) >= side - window[axis]).long() + (torch.arange(side) >= side - shift[axis]).long()
        for axis, side in enumerate(size)
    )
    region = 3 * down[:, None] + across  # of the map, among the nine that the moved windows cut
    tiles = region.view(size[0] // window[0], window[0], size[1] // window[1], window[1]).transpose(1, 2)
    of_window = tiles.reshape(-1, window[0] * window[1])
    apart = of_window.unsqueeze(1) != of_window.unsqueeze(2)
    return torch.zeros(apart.shape, dtype=dtype).masked_fill(apart, _FAR)


def _merged(of_heads: Tensor) -> Tensor:
    """Merge heads, shape (N, heads, T, C / heads), into tokens, shape (N, T, C)."""
    return of_heads.transpose(1, 2).flatten(2)
