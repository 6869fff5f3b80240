"""Keep oneDNN's gradients of convolutions within their memory.

The gradient of the weights of a 1 x 1 convolution that skips places, of fewer channels than oneDNN takes at a time, is
written past its memory where channels lie last: a fit crashes, or learns something else.

Only layers of `nn.Conv2d` and of `PaddedConvolution` are known here, not calls of the function in a module's own code.

Source: oneDNN's issue 6035.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dovision.models.timm_model import PaddedConvolution

_AT_A_TIME = 16  # channels with AVX-512; 8 with AVX2


@contextmanager
def channels_first_where_narrow(module: nn.Module) -> Iterator[None]:
    """Let such convolutions of a module read maps and weights with channels first, for a block."""
    with ExitStack() as hooks:
        for layer in filter(_is_narrow, module.modules()):
            if "weight" in layer._parameters:
                layer.weight.data = _channels_first(layer.weight.data)  # type: ignore[arg-type]
            else:  # computed in each pass, as by spectral_norm
                hooks.enter_context(_computed_weight_channels_first(layer))
            hooks.enter_context(layer.register_forward_pre_hook(_read_channels_first, with_kwargs=True))
        yield


@contextmanager
def _computed_weight_channels_first(layer: Any) -> Iterator[None]:
    convolve = layer._conv_forward
    layer._conv_forward = lambda value, weight, bias: convolve(value, _channels_first(weight), bias)
    try:
        yield
    finally:
        del layer._conv_forward


def _is_narrow(module: nn.Module) -> bool:
    if isinstance(module, PaddedConvolution):
        channels, size = module.weight.shape[1], tuple(module.weight.shape[2:])
    elif isinstance(module, nn.Conv2d):  # whose weight may be computed, and another one each time
        channels, size = module.in_channels, tuple(module.kernel_size)
    else:
        return False
    skips = size == (1, 1) and tuple(module.stride) != (1, 1)
    return skips and module.groups == 1 and 0 < channels < _AT_A_TIME  # a lazy layer has none yet


def _read_channels_first(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    named = {name: _channels_first(value) for name, value in kwargs.items()}
    return tuple(map(_channels_first, args)), named


def _channels_first(value: Tensor) -> Tensor:
    """A copy, since a map of one place counts as laid out in either way."""
    return value.clone(memory_format=torch.contiguous_format)
