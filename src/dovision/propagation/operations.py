"""Counts of the multiply-adds of a block of code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, register_flop_formula, sdpa_flop_count

from dovision.functional import logit_checks


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-adds of convolutions and matrix products in a block, in this thread.

    Attributes:
        number: of all of them.
        convolutions: those of convolutions.
        packed: those of the engine's linear layers, see `packed_linear`.
        largest: bytes of the largest of their results.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = self.convolutions = self.packed = self.largest = 0

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
        self._observe(func, args, kwargs, result)
        return result

    def _observe(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        packet = getattr(func, "_overloadpacket", None)
        count = flop_registry.get(packet)
        if packet is _ATTENTION:
            self.number += _of_attention(*args)
        elif count is not None:
            number = _number(count, args, kwargs, result)
            self.number += number
            self.convolutions += number if packet in _CONVOLUTIONS else 0
            self.packed += number if getattr(packet, "__name__", "") in _PACKED else 0
            self.largest = max(self.largest, result.nbytes if isinstance(result, Tensor) else 0)


class FullPrecision(Operations):  # type: ignore[no-untyped-call]
    """Raise if an operator inside a pass changes to 16-bit floats, as under torch.autocast in a forward; count it, too.

    The logits may be float32 again behind it. What an autocast around the pass does is left to
    `logit_checks.measurable`.

    Raises:
        ValueError: an operator does; the error names it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._around = any(map(torch.is_autocast_enabled, ("cpu", "cuda")))

    def _observe(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        super()._observe(func, args, kwargs, result)
        got = _narrow(result)
        if got is not None and not self._around and _narrow((args, kwargs)) is None:
            logit_checks.refuse_16_bits("logits", f"{got} from {func} inside its forward")


def _narrow(values: object) -> torch.dtype | None:
    """Dtype of the first floating-point tensor below 32 bits in a tree of values."""
    leaves = [values] if isinstance(values, Tensor) else tree_leaves(values)  # which takes longer
    floats = (value for value in leaves if isinstance(value, Tensor) and value.is_floating_point())
    return next((value.dtype for value in floats if value.dtype.itemsize < logit_checks.LEAST_BYTES), None)


def _number(count: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Multiply-adds by torch's counter of an operator, from shapes where possible, which takes half the time."""
    of_shapes = getattr(count, "__wrapped__", None)
    if of_shapes is None or kwargs or not isinstance(result, Tensor):
        return int(count(*args, **kwargs, out_val=result))
    shapes = (argument.shape if isinstance(argument, Tensor) else argument for argument in args)
    return int(of_shapes(*shapes, out_shape=result.shape))


_ATTENTION = torch.ops.aten._native_multi_head_attention  # torch's own counter leaves it out
_PACKED = ("_linear_pointwise", "_mkl_linear")
_CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten._convolution)


def _of_attention(query: Tensor, key: Tensor, value: Tensor, width: int, *others: Any) -> int:
    """Count the projections of attention over tokens, shape (B, T, C), and the products between them."""
    images, tokens = query.shape[:2]
    return 8 * images * tokens * width**2 + 4 * images * tokens * width * key.shape[1]


def _of_scores(query: Any, key: Any, value: Any, *others: Any, out_shape: Any = None, **options: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


if torch.ops.aten._scaled_dot_product_flash_attention_for_cpu not in flop_registry:  # as torch 2.13 has it
    register_flop_formula([torch.ops.aten._scaled_dot_product_flash_attention_for_cpu])(_of_scores)
