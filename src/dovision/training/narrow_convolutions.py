"""Keep oneDNN's gradients of convolutions within their memory.

The gradient of the weights of a 1 x 1 convolution that skips places, of fewer channels than oneDNN takes at a time, is
written past its memory where channels lie last: a fit crashes, or learns something else.

Only layers of `nn.Conv2d`, of its subclasses and of `PaddedConvolution` are known here, not calls of the function in
other modules, nor weights that a subclass computes in a `forward` of its own.

Source: oneDNN's issue 6035.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dovision.models.timm_model import PaddedConvolution

_KNOWN = (nn.Conv2d.forward, PaddedConvolution.forward)
_AT_A_TIME = 16  # channels with AVX-512; 8 with AVX2


@contextmanager
def channels_first_where_narrow(module: nn.Module) -> Iterator[None]:
    """Let such convolutions of a module read maps and weights with channels first, for a block."""
    layers: list[Any] = [layer for layer in module.modules() if _is_narrow(layer)]
    own = [vars(layer).get("_conv_forward") for layer in layers]
    for layer in layers:
        layer._conv_forward = _ChannelsFirst(layer._conv_forward)
    try:
        with ExitStack() as hooks:
            for layer in layers:
                if type(layer).forward not in _KNOWN:  # one of its own, which may call the function itself
                    if "weight" in layer._parameters:
                        layer.weight.data = _channels_first(layer.weight.data)
                    hooks.enter_context(layer.register_forward_pre_hook(_read_channels_first, with_kwargs=True))
            yield
    finally:
        for layer, before in zip(layers, own, strict=True):
            if before is None:
                del layer._conv_forward
            else:
                layer._conv_forward = before


class _ChannelsFirst:
    """A convolution of copies with channels first, which can be copied and pickled with its layer."""

    def __init__(self, convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> None:
        self.convolve = convolve

    def __call__(self, value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self.convolve(_channels_first(value), _channels_first(weight), bias)


def _is_narrow(module: nn.Module) -> bool:
    """Return whether a layer is narrow, by its settings alone: reading a weight that is computed may change it."""
    if not isinstance(module, (nn.Conv2d, PaddedConvolution)):
        return False
    skips = tuple(module.kernel_size) == (1, 1) and tuple(module.stride) != (1, 1)
    return skips and module.groups == 1 and 0 < module.in_channels < _AT_A_TIME  # a lazy layer has none yet


def _read_channels_first(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    named = {name: _channels_first(value) for name, value in kwargs.items()}
    return tuple(map(_channels_first, args)), named


def _channels_first(value: Tensor) -> Tensor:
    """A copy, since a map of one place counts as laid out in either way."""
    return value.clone(memory_format=torch.contiguous_format)
