"""Linear layers and 1 x 1 convolutions as one product of rows, and an activation behind them.

The product is oneDNN's, with weights packed once, and has the activation in the same call: torch's own call packs the
weights in each pass again, and writes each result before an activation reads it again. Without AVX-512 that of many
channels is MKL's, as torch's own, which is faster there, with the activation in place behind it. Of oneDNN the bits of
a row do not depend on how many rows there are; of MKL that holds on processors of AMD alone.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

LEAST_ROWS = 4  # of a product; that of fewer is rounded in another order: of 1 with AVX-512, of 1 to 3 with AVX2
_ONEDNN, _MKL = torch.ops.mkldnn, torch.ops.mkl
_NAMES = ("_reorder_linear_weight", "_linear_pointwise")
_ROWS = 1024  # that oneDNN's packing is made for; others are as exact
_MANY_CHANNELS = 96  # of both sides of a product, from which on MKL's is faster than oneDNN's without AVX-512
_AT_A_TIME = 16  # values of an activation in torch's kernels; those left over at the end have other bits
_NOT_PACKED = 0  # rows: with weights that MKL has packed, bits depend on the number of rows on all processors


class JoinedActivation(NamedTuple):
    """Activation that is computed together with the preceding product."""

    name: str  # as oneDNN has it
    algorithm: str = ""
    in_place: Callable[[Tensor], Tensor] | None = None


_NO_ACTIVATION = JoinedActivation("none")
JOINED_ACTIVATIONS: dict[Any, JoinedActivation] = {
    **dict.fromkeys((F.gelu, nn.GELU), JoinedActivation("gelu", "none", torch.ops.aten.gelu_)),
    **dict.fromkeys((F.silu, nn.SiLU), JoinedActivation("swish", "", torch.ops.aten.silu_)),
    **dict.fromkeys((F.hardswish, nn.Hardswish), JoinedActivation("hardswish", "", torch.ops.aten.hardswish_)),
}


class PackedLinear:
    """A linear layer. A ReLU behind it stays a call of its own: oneDNN's takes nan for 0.

    Args:
        weight: shape (K, C), float32.
        bias: shape (K,).
    """

    activation = _NO_ACTIVATION

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.by_onednn = onednn_is_faster(weight)
        self.weight = weight.detach().contiguous()
        if self.by_onednn:
            self.weight = _ONEDNN._reorder_linear_weight(self.weight, _ROWS)
        self.bias = None if bias is None else bias.detach().contiguous()  # of which the kernel reads the memory

    def __call__(self, input: Tensor) -> Tensor:
        rows = input.reshape(-1, input.shape[-1])
        lacking = max(0, LEAST_ROWS - len(rows))
        result = self._product(F.pad(rows, (0, 0, 0, lacking)) if lacking else rows)
        return result[: len(rows)].view(*input.shape[:-1], result.shape[-1])

    def _product(self, rows: Tensor) -> Tensor:
        name, algorithm, in_place = self.activation
        result: Tensor
        if self.by_onednn:
            result = _ONEDNN._linear_pointwise(rows, self.weight, self.bias, name, [], algorithm)
            return result
        result = _MKL._mkl_linear(rows, self.weight, self.weight, self.bias, _NOT_PACKED)
        return result if in_place is None else in_place(result)

    @property
    def joins(self) -> bool:
        """Return whether an activation can be fused into the call."""
        return self.activation != _NO_ACTIVATION

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
    return usable and platform.machine() in ("x86_64", "AMD64") and all(hasattr(_ONEDNN, name) for name in _NAMES)


def onednn_is_faster(weight: Tensor) -> bool:
    """Return whether oneDNN's product with weights of shape (K, C) is faster here, or the only one available."""
    if torch.backends.cpu.get_cpu_capability() == "AVX512" or not hasattr(_MKL, "_mkl_linear"):
        return True
    return min(weight.shape) < _MANY_CHANNELS or len(weight) % _AT_A_TIME > 0


def _operations(input: Any, weight: Any, *others: Any, out_shape: Any) -> int:
    return 2 * math.prod(input) * int(weight[0])


if can_pack():
    register_flop_formula([_ONEDNN._linear_pointwise])(_operations)
    if hasattr(_MKL, "_mkl_linear"):
        register_flop_formula([_MKL._mkl_linear])(_operations)
