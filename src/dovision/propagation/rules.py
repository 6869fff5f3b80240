"""How each operator carries a patch: one entry an operator, and none where the whole map is needed.

A rule has the operator's own arguments, with maps in the place of tensors that depend on the image, after `output`, the
clean result. It returns the changed part of the result, or None where the operator must be run in full.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor, nn

from dovision.propagation.graph import Method, Step
from dovision.propagation.patch import Map, Margin, Patch, paste
from dovision.propagation.spans import Span, Window

Rule = Callable[..., "Patch | None"]
Pair = int | tuple[int, int]

ALMOST_ALL = 0.8  # the share of a map from which on a patch costs more than it saves


def rule_of(step: Step) -> Rule | None:
    """The rule of a step's operator, if there is one."""
    function = step.function
    return RULES.get(type(function) if isinstance(function, nn.Module) else function)


def conv2d(
    output: Map,
    input: Map,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Patch | None:
    """The outputs whose windows the patch reaches; around the map lie zeros."""
    size = (weight.shape[2], weight.shape[3])
    near = _Neighbourhood(output, input, size, stride, _before(padding, size, dilation), dilation)
    if near.in_full:
        return None
    return near.patch(F.conv2d(near.window(fill=0.0), weight, bias, stride, 0, dilation, groups))


def max_pool2d(
    output: Map,
    input: Map,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Patch | None:
    """The outputs whose windows the patch reaches; around the map lies minus infinity, which never is the largest."""
    stride = stride or kernel_size
    near = _Neighbourhood(output, input, kernel_size, stride, padding, dilation)
    if near.in_full or return_indices:
        return None
    return near.patch(F.max_pool2d(near.window(fill=-torch.inf), kernel_size, stride, 0, dilation))


def avg_pool2d(
    output: Map,
    input: Map,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Patch | None:
    """The outputs whose windows the patch reaches; in full where windows at the border are divided by less."""
    stride = stride or kernel_size
    near = _Neighbourhood(output, input, kernel_size, stride, padding, 1)
    divisor_varies = divisor_override is None and (ceil_mode or (not count_include_pad and any(_pair(padding))))
    if near.in_full or divisor_varies:
        return None
    return near.patch(F.avg_pool2d(near.window(fill=0.0), kernel_size, stride, 0, divisor_override=divisor_override))


def pointwise(output: Map, *args: Any, **kwargs: Any) -> Patch | None:
    """Each value of the result comes from the values at the same place; constants do not vary over the map."""
    maps = [argument for argument in args if isinstance(argument, Map)]
    constants = [argument for argument in (*args, *kwargs.values()) if isinstance(argument, Tensor)]
    flat = all(_uniform(constant, output.channel_axis) for constant in constants)
    if not flat or any(argument.size != output.size for argument in maps):
        return None
    rows, columns = _union(output, maps)
    if _almost_all(output, rows, columns):
        return None
    values = [argument.window(rows, columns) if isinstance(argument, Map) else argument for argument in args]
    return Patch(output.step.function(*values, **kwargs), rows, columns, output.channel_axis)


def cat(output: Map, tensors: Sequence[Map], dim: int = 0) -> Patch | None:
    """The stored concatenation around the patches, each patch in its own channels."""
    if dim % 4 != output.channel_axis or not all(isinstance(part, Map) for part in tensors):
        return None
    rows, columns = _union(output, tensors)
    if _almost_all(output, rows, columns):
        return None
    value = output.window(rows, columns)
    pixels = value.movedim(output.channel_axis, -1)
    first = 0
    for part in tensors:
        channels = part.shape[output.channel_axis]
        if part.patch is not None:
            down, right = part.patch.rows.start - rows.start, part.patch.columns.start - columns.start
            content = part.patch.value.movedim(output.channel_axis, -1)
            paste(pixels[..., first : first + channels], content, down, right)
        first += channels
    return Patch(value, rows, columns, output.channel_axis)


def mixes_channels(channel_axis: int) -> Rule:
    """The rule of operators that read all channels of one place, and expect the channels on this axis."""

    def rule(output: Map, input: Map, *args: Any, **kwargs: Any) -> Patch | None:
        if input.channel_axis != channel_axis or input.patch is None:
            return None
        value = output.step.function(input.patch.value, *args, **kwargs)
        return Patch(value, input.patch.rows, input.patch.columns, channel_axis)

    return rule


def layer_norm(output: Map, input: Map, normalized_shape: Sequence[int], *args: Any, **kwargs: Any) -> Patch | None:
    """Over the last axis alone, where the channels are; over places as well it needs the whole map."""
    if len(normalized_shape) > 1:
        return None
    return mixes_channels(3)(output, input, normalized_shape, *args, **kwargs)


def permute(output: Map, input: Map, *dims: Any) -> Patch | None:
    """Channels to the last axis or back; the map keeps its rows and columns."""
    order = tuple(dims[0]) if len(dims) == 1 else dims
    moves = {(1, (0, 2, 3, 1)): 3, (3, (0, 3, 1, 2)): 1}
    axis = moves.get((input.channel_axis, tuple(d % 4 for d in order)))
    if axis is None or input.patch is None:
        return None
    return Patch(input.patch.value.permute(order), input.patch.rows, input.patch.columns, axis)


def pad(
    output: Map, input: Map, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Patch | None:
    """A constant border moves the patch and leaves it as it is."""
    if mode != "constant" or len(pad) > 4 or min(pad) < 0 or input.patch is None or input.channel_axis != 1:
        return None
    left, _, above, _ = (*pad, 0, 0)[:4]
    return Patch(input.patch.value, input.patch.rows.shifted(above), input.patch.columns.shifted(left))


class _Neighbourhood:
    """The outputs that a patch reaches through a sliding window, and the inputs that they read."""

    def __init__(self, output: Map, input: Map, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
        self.input = input
        self.down, self.across = map(Window, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation))
        assert input.patch is not None
        self.rows = self.down.outputs(input.patch.rows, output.size[0])
        self.columns = self.across.outputs(input.patch.columns, output.size[1])
        vertical = self.down.margin(input.size[0], output.size[0])
        horizontal = self.across.margin(input.size[1], output.size[1])
        self.margin = Margin(*vertical, *horizontal)
        self.in_full = input.channel_axis != 1 or _almost_all(output, self.rows, self.columns)

    def window(self, fill: float) -> Tensor:
        return self.input.window(self.down.inputs(self.rows), self.across.inputs(self.columns), self.margin, fill)

    def patch(self, value: Tensor) -> Patch:
        return Patch(value, self.rows, self.columns)


def _almost_all(output: Map, rows: Span, columns: Span) -> bool:
    height, width = output.size
    return rows.size * columns.size >= ALMOST_ALL * height * width


def _union(output: Map, maps: Sequence[Map]) -> tuple[Span, Span]:
    """The rows and columns that hold all the maps' patches."""
    patches = [argument.patch for argument in maps if argument.patch is not None]
    rows, columns = patches[0].rows, patches[0].columns
    for patch in patches[1:]:
        rows = rows.joined(patch.rows, output.size[0])
        columns = columns.joined(patch.columns, output.size[1])
    return rows, columns


def _uniform(constant: Tensor, channel_axis: int) -> bool:
    """Whether a tensor that is broadcast to a map of four axes is the same on all rows and columns."""
    shape = (1,) * (4 - constant.ndim) + tuple(constant.shape)
    return len(shape) == 4 and all(shape[axis] == 1 for axis in range(4) if axis != channel_axis)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _before(padding: Pair | str, kernel: Pair, dilation: Pair) -> Pair:
    """The padding above and left of a map; "same" is split evenly, an odd pixel comes after."""
    if not isinstance(padding, str):
        return padding
    (height, width), (down, across) = _pair(kernel), _pair(dilation)
    if padding == "valid":
        return 0
    return down * (height - 1) // 2, across * (width - 1) // 2


POINTWISE: tuple[Any, ...] = (
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.abs, torch.exp, torch.clamp, torch.clone),
    *(torch.relu, torch.relu_, torch.sigmoid, torch.tanh, torch.maximum, torch.minimum),
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus),
    *(F.hardtanh, F.hardswish, F.hardsigmoid, F.sigmoid, F.tanh, F.dropout, F.dropout2d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Identity, nn.Dropout, nn.Dropout2d),
    *(Method("add"), Method("sub"), Method("mul"), Method("div"), Method("neg"), Method("abs"), Method("clamp")),
    *(Method("relu"), Method("sigmoid"), Method("tanh"), Method("contiguous"), Method("clone"), Method("float")),
    torchvision.ops.stochastic_depth,
)

RULES: dict[Any, Rule] = dict.fromkeys(POINTWISE, pointwise) | {
    F.conv2d: conv2d,
    F.max_pool2d: max_pool2d,
    F.avg_pool2d: avg_pool2d,
    F.batch_norm: mixes_channels(1),
    F.prelu: mixes_channels(1),
    F.linear: mixes_channels(3),
    F.layer_norm: layer_norm,
    F.pad: pad,
    torch.cat: cat,
    torch.concat: cat,
    torch.permute: permute,
    Method("permute"): permute,
}
