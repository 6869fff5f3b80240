"""TensorFlow's "same" padding, fixed for images of one size, so that a network that has it can be traced."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.module_state import evaluating
from dovision.types import Shape


class PaddedConvolution(nn.Module):
    """A convolution, with its own weights, behind a border of zeros for maps of one size, (rows, columns)."""

    def __init__(self, layer: nn.Conv2d, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.border = _border(layer, size)  # left, right, top, bottom

    def forward(self, value: Tensor) -> Tensor:
        padded = F.pad(value, self.border)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def fix_same_padding(network: nn.Module, shape: Shape) -> None:
    """Replace timm's convolutions that look at the size of their input to pad it.

    Args:
        network: of timm.
        shape: (C, H, W) of its input.
    """
    dynamic = checks.import_extra("timm.layers", "timm").Conv2dSame
    names = [name for name, module in network.named_modules() if type(module) is dynamic]
    if not names:
        return
    sizes = _input_sizes(network, names, shape)
    for name in names:
        old = network.get_submodule(name)
        assert isinstance(old, nn.Conv2d)
        network.set_submodule(name, PaddedConvolution(old, sizes[name]))


@torch.no_grad()
def _input_sizes(network: nn.Module, names: list[str], shape: Shape) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}

    def note(name: str) -> Any:
        return lambda module, inputs: sizes.update({name: tuple(inputs[0].shape[2:])})

    with evaluating(network), ExitStack() as hooks:
        for name in names:
            hooks.enter_context(network.get_submodule(name).register_forward_pre_hook(note(name)))
        network(torch.zeros(1, *shape))
    return sizes


def _border(layer: nn.Conv2d, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """As many zeros as make the output ceil(size / stride); the odd one comes after."""
    total = checks.import_extra("timm.layers", "timm").get_same_padding
    rows, columns = map(total, size, layer.kernel_size, layer.stride, layer.dilation)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
