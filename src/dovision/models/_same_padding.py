"""TensorFlow's "same" padding, fixed for images of one size, so that a network that has it can be traced."""

from __future__ import annotations

from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.module_state import evaluating
from dovision.types import Shape


class PaddedConvolution(nn.Module):
    """A convolution, with its own weights, behind a border of zeros for maps of one size, (rows, columns)."""

    def __init__(self, layer: nn.Conv2d, size: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.border = _border(layer, size)  # left, right, top, bottom

    def forward(self, value: Tensor) -> Tensor:
        padded = F.pad(value, self.border)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def fix_same_padding(network: nn.Module, shape: Shape) -> None:
    """Replace timm's convolutions that look at the size of their input, of shape (C, H, W), to pad it."""
    dynamic = checks.import_extra("timm.layers", "timm").Conv2dSame
    layers = {name: module for name, module in network.named_modules() if type(module) is dynamic}
    sizes: dict[nn.Module, tuple[int, ...]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes[layer] = tuple(inputs[0].shape[2:])

    if layers:
        with torch.no_grad(), evaluating(network), ExitStack() as hooks:
            for layer in layers.values():
                hooks.enter_context(layer.register_forward_pre_hook(note))
            network(torch.zeros(1, *shape))
    for name, layer in layers.items():
        network.set_submodule(name, PaddedConvolution(layer, sizes[layer]))


def _border(layer: nn.Conv2d, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """As many zeros as make the output ceil(size / stride); the odd one comes after."""
    total = checks.import_extra("timm.layers", "timm").get_same_padding
    rows, columns = map(total, size, layer.kernel_size, layer.stride, layer.dilation)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
