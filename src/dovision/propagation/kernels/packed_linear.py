"""Linear layers and 1 x 1 convolutions with weights packed for the processor, and an activation behind them.

torch's own call packs the weights in each pass again, and writes each result before an activation reads it again.
"""

from __future__ import annotations

import math
import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from dovision.propagation.kernels.rows import enough_rows

_OPS = torch.ops.mkldnn
_NAMES = ("_reorder_linear_weight", "_linear_pointwise")
_ROWS = 1024  # that the packing is made for; others are as exact
JOINED_ACTIVATIONS: dict[Any, tuple[str, str]] = {  # as oneDNN has them
    **dict.fromkeys((F.gelu, nn.GELU), ("gelu", "none")),
    **dict.fromkeys((F.silu, nn.SiLU), ("swish", "")),
    **dict.fromkeys((F.hardswish, nn.Hardswish), ("hardswish", "")),
}


class PackedLinear:
    """A linear layer. A ReLU behind it stays a call of its own: oneDNN's takes nan for 0.

    Args:
        weight: shape (K, C), float32.
        bias: shape (K,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = _OPS._reorder_linear_weight(weight, _ROWS)
        self.bias = None if bias is None else bias.contiguous()  # of which the kernel reads the memory
        self.activation = ("none", "")

    def __call__(self, input: Tensor) -> Tensor:
        name, algorithm = self.activation
        rows = input.reshape(-1, input.shape[-1])
        result: Tensor = _OPS._linear_pointwise(enough_rows(rows), self.weight, self.bias, name, [], algorithm)
        return result[: len(rows)].view(*input.shape[:-1], result.shape[-1])

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedLinear:
        return self  # which nothing changes; packed weights cannot be copied


class PackedConvolution(PackedLinear):
    """A 1 x 1 convolution, on maps of shape (N, C, H, W): a linear layer on the channels of each place.

    Args:
        weight: shape (K, C, 1, 1), float32.
        bias: shape (K,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.flatten(1), bias)

    def __call__(self, input: Tensor) -> Tensor:
        return super().__call__(input.movedim(1, -1)).movedim(-1, 1)


def can_pack() -> bool:
    """Return whether torch has this kernel here and may use it."""
    usable = torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()
    return usable and platform.machine() in ("x86_64", "AMD64") and all(hasattr(_OPS, name) for name in _NAMES)


def _operations(input: Any, weight: Any, *others: Any, out_shape: Any) -> int:
    return 2 * math.prod(input) * int(weight[0])


if can_pack():
    register_flop_formula([_OPS._linear_pointwise])(_operations)
