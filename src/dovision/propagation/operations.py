"""Counts of the multiply-adds of a block of code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-adds of convolutions and matrix products in a block, in this thread.

    Attributes:
        number: of all of them.
        convolutions: those of convolutions.
        products: those of a matrix of weights with one of values, as linear layers make them.
        largest: bytes of the largest of their results.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = self.convolutions = self.products = self.largest = 0

    def halve(self) -> None:
        """Of one of two images."""
        self.number, self.convolutions = self.number // 2, self.convolutions // 2
        self.products, self.largest = self.products // 2, self.largest // 2

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (
            torch.is_inference_mode_enabled()
            and isinstance(func, torch._ops.OpOverload)
            and func._overloadpacket not in flop_registry
        ):
            with self:  # in inference mode, composites come as one
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        result = func(*args, **kwargs)
        packet = getattr(func, "_overloadpacket", None)
        count = flop_registry.get(packet)
        if packet is _ATTENTION:
            self.number += _of_attention(*args)
        elif count is not None:
            number = count(*args, **kwargs, out_val=result)
            self.number += number
            self.convolutions += number if packet in _CONVOLUTIONS else 0
            self.products += number if getattr(packet, "__name__", "") in _PRODUCTS else 0
            self.largest = max(self.largest, result.nbytes if isinstance(result, Tensor) else 0)
        return result


_ATTENTION = torch.ops.aten._native_multi_head_attention  # torch's own counter leaves it out
_PRODUCTS = ("addmm", "mm", "_linear_pointwise")
_CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten._convolution)


def _of_attention(query: Tensor, key: Tensor, value: Tensor, width: int, *others: Any) -> int:
    """Of the projections of tokens, shape (B, T, C), to queries, keys, values and back, and of both products."""
    images, tokens = query.shape[:2]
    return 2 * images * tokens * width * (4 * width + 2 * key.shape[1])
