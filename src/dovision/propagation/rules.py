"""Rules by which operators carry a patch: one entry an operator, and none where the whole map is needed.

A rule has the operator's own arguments, with maps in the place of tensors that depend on the image, after `output`, the
clean result. It returns the changed part of the result, or None where the operator must be run in full.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor, nn

from dovision.functional.norms import keep_largest
from dovision.propagation.graph import Method, PartOf, Step
from dovision.propagation.kernels.packed_linear import PackedConvolution, PackedLinear
from dovision.propagation.patch import Map, Padding, Patch, gather, paste
from dovision.propagation.spans import Index, Span, Window

Rule = Callable[..., "Patch | None"]
Pair = int | tuple[int, int]

_KINDS = (nn.Module, PartOf, PackedLinear)  # of functions whose rule goes by their type
ALMOST_ALL = 0.8  # the share of a map from which on a patch costs more than it saves


def rule_of(step: Step) -> Rule | None:
    """The rule of a step's operator; None if there is none that knows its arguments by name."""
    function = step.function
    if isinstance(function, nn.Module) and (function._forward_hooks or function._forward_pre_hooks):
        return None  # which expect whole maps
    rule = RULES.get(type(function) if isinstance(function, _KINDS) else function)
    if rule is None:
        return None
    try:
        inspect.signature(rule).bind(None, *step.args, **step.kwargs)
    except TypeError:
        return None
    return rule


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
    """Outputs whose windows reach the patch; the map is padded with zeros."""
    size = (weight.shape[2], weight.shape[3])
    sliding = size, stride, _before(padding, size, dilation), dilation
    return _slide(
        output, input, sliding, 0.0, lambda window: F.conv2d(window, weight, bias, stride, 0, dilation, groups)
    )


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
    """Outputs whose windows reach the patch; the map is padded with minus infinity."""
    if return_indices:
        return None
    sliding = kernel_size, stride or kernel_size, padding, dilation
    return _slide(
        output, input, sliding, -torch.inf, lambda window: F.max_pool2d(window, kernel_size, stride, 0, dilation)
    )


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
    """Outputs whose windows reach the patch; at the border, the divisor may be smaller."""

    def mean_of(window: Tensor) -> Tensor:
        return F.avg_pool2d(window, kernel_size, stride, 0, divisor_override=divisor_override)

    patch = _slide(output, input, (kernel_size, stride or kernel_size, padding, 1), 0.0, mean_of)
    if patch is None:
        return None
    ones = torch.ones(1, 1, *input.size, device=patch.value.device)
    count, mean = (
        F.avg_pool2d(ones, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
        for divisor in (1, divisor_override)
    )
    correction = mean * (divisor_override or math.prod(_pair(kernel_size))) / count  # 1 but for those windows
    factor = gather(correction.movedim(1, -1), np.zeros_like(input.image), patch.rows, patch.columns).movedim(-1, 1)
    return replace(patch, value=patch.value * factor.to(patch.value.dtype))


def pointwise(output: Map, *args: Any, **kwargs: Any) -> Patch | None:
    """Apply an operator place by place, to maps and to constants that vary over them.

    A map of one place that no edit changes is such a constant of each image.
    """
    operands = (*args, *kwargs.values())
    maps = [operand for operand in operands if isinstance(operand, Map)]
    constant = [operand for operand in maps if operand.patch is None and operand.size == (1, 1)]
    if any(operand.size != output.size for operand in maps if operand not in constant):
        return None
    if any(isinstance(operand, Tensor) and operand.ndim > 4 for operand in operands):
        return None
    rows, columns = _union(output, maps)
    if almost_all(output.size, rows, columns):
        return None

    def inside(operand: Any) -> Any:
        if isinstance(operand, Tensor):
            return _constant(operand, output, rows, columns)
        if operand in constant:
            return operand.full()
        return operand.window(rows, columns) if isinstance(operand, Map) else operand

    named = {name: inside(operand) for name, operand in kwargs.items()}
    return Patch(output.step.function(*map(inside, args), **named), rows, columns, output.channel_axis)


def cat(output: Map, tensors: Sequence[Map], dim: int = 0) -> Patch | None:
    """The stored concatenation around the patches, each patch in its own channels."""
    if dim % 4 != output.channel_axis or not all(isinstance(operand, Map) for operand in tensors):
        return None
    rows, columns = _union(output, tensors)
    if almost_all(output.size, rows, columns):
        return None
    value = output.window(rows, columns)
    pixels = value.movedim(output.channel_axis, -1)
    first = 0
    for operand in tensors:
        channels = operand.shape[output.channel_axis]
        if operand.patch is not None:
            down, right = operand.patch.rows.start - rows.start, operand.patch.columns.start - columns.start
            content = operand.patch.value.movedim(output.channel_axis, -1)
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
    """Normalise over the last axis alone, where the channels are; over places as well it needs the whole map."""
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


def movedim(output: Map, input: Map, source: int, destination: int) -> Patch | None:
    """Move the channel axis to the end or back."""
    order = [axis for axis in range(4) if axis != source % 4]
    order.insert(destination % 4, source % 4)
    return permute(output, input, order)


def pad(
    output: Map, input: Map, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Patch | None:
    """Move the patch by a constant border; add constant channels to it."""
    if mode in _BORDERS and len(pad) == 4 and min(pad) >= 0 and input.channel_axis == 1:
        return _repeated_border(output, input, tuple(pad), _BORDERS[mode])
    if mode != "constant" or len(pad) > 6 or min(pad) < 0 or input.patch is None or input.channel_axis != 1:
        return None
    left, _, above, _, *channels = (*pad, *(0,) * (6 - len(pad)))
    content = F.pad(input.patch.value, (0, 0, 0, 0, *channels), value=value or 0.0) if any(channels) else None
    rows, columns = input.patch.rows.shifted(above), input.patch.columns.shifted(left)
    return Patch(input.patch.value if content is None else content, rows, columns)


_BORDERS: dict[str, Literal["reflect", "edge"]] = {"reflect": "reflect", "replicate": "edge"}  # numpy's names


def _repeated_border(output: Map, input: Map, pad: tuple[int, ...], mode: Literal["reflect", "edge"]) -> Patch | None:
    """Patch extended by the border that repeats it; each output position has one source."""
    assert input.patch is not None
    changed = (input.patch.rows, input.patch.columns)
    sources = [np.pad(np.arange(input.size[axis]), pad[2 - 2 * axis : 4 - 2 * axis], mode) for axis in (0, 1)]
    rows, columns = (_coming_from(source, span) for source, span in zip(sources, changed, strict=True))
    if almost_all(output.size, rows, columns):
        return None
    down, across = (
        source[span.start[:, None] + np.arange(span.size)]
        for source, span in zip(sources, (rows, columns), strict=True)
    )
    read = [Span.covering(line.min(1), line.max(1) + 1, input.size[axis]) for axis, line in enumerate((down, across))]
    window = input.window(read[0], read[1])
    pixel = (down - read[0].start[:, None])[:, :, None], (across - read[1].start[:, None])[:, None, :]
    index = (np.arange(len(down))[:, None, None], *pixel)
    value = window.movedim(1, -1)[tuple(torch.from_numpy(line).to(window.device) for line in index)]
    return Patch(value.movedim(-1, 1), rows, columns)


def _coming_from(source: Index, changed: Span) -> Span:
    """Positions whose source position has changed; `source` is the source of each."""
    reached = (source >= changed.start[:, None]) & (source < changed.stop[:, None])
    return Span.covering(reached.argmax(1), len(source) - reached[:, ::-1].argmax(1), len(source))


def channel_slice(output: Map, input: Map, index: Any) -> Patch | None:
    """Select channels of all images and positions."""
    axes = index if isinstance(index, tuple) else (index,)
    whole = all(index == slice(None) for axis, index in enumerate(axes) if axis != input.channel_axis)
    if not all(isinstance(index, slice) for index in axes) or not whole or input.patch is None:
        return None
    return Patch(input.patch.value[index], input.patch.rows, input.patch.columns, input.channel_axis)


def part_of_split(output: Map, input: Map, sections: Any, dim: int = 0) -> Patch | None:
    """Select one part of a split of the channels."""
    if dim % 4 != input.channel_axis or input.patch is None:
        return None
    value = output.step.function(input.patch.value, sections, dim)
    return Patch(value, input.patch.rows, input.patch.columns, input.channel_axis)


def interpolate(
    output: Map,
    input: Map,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Patch | None:
    """Repeat each value of the patch a whole number of times."""
    down, across = output.size[0] // input.size[0], output.size[1] // input.size[1]
    whole = output.size == (down * input.size[0], across * input.size[1])
    if scale_factor is not None and not recompute_scale_factor:  # places are then found by the factor, not by sizes
        whole = whole and tuple(np.broadcast_to(scale_factor, 2)) == (down, across)
    if not mode.startswith("nearest") or not whole or input.patch is None or input.channel_axis != 1:
        return None
    value = input.patch.value.repeat_interleave(down, 2).repeat_interleave(across, 3)
    rows, columns = input.patch.rows, input.patch.columns
    return Patch(value, Span(rows.start * down, rows.size * down), Span(columns.start * across, columns.size * across))


def conv_transpose2d(
    output: Map,
    input: Map,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Patch | None:
    """Outputs onto which the patch is spread, from all inputs that are spread onto them; none lie outside the map."""
    assert input.patch is not None
    reached, read, crops, margin = [], [], [], []
    changed, settings = (input.patch.rows, input.patch.columns), map(_pair, (stride, padding, dilation))
    for axis, (step, before, apart) in enumerate(zip(*settings, strict=True)):
        reach = apart * (weight.shape[2 + axis] - 1)
        start, stop = (changed[axis].start * step - before, (changed[axis].stop - 1) * step - before + reach + 1)
        outputs = Span.covering(start, stop, output.size[axis])
        first = -((reach - outputs.start - before) // step)  # input, rounded up
        inputs = Span(first, int(((outputs.stop - 1 + before) // step - first).max()) + 2)
        crops.append(Span(outputs.start + before - first * step, outputs.size))
        margin += [max(0, -int(first.min())), max(0, int(inputs.stop.max()) - input.size[axis])]
        reached.append(outputs)
        read.append(inputs)
    if input.channel_axis != 1 or almost_all(output.size, *reached):
        return None
    window = input.window(read[0], read[1], Padding(*margin))
    spread = F.conv_transpose2d(window, weight, bias, stride, 0, 0, groups, dilation).movedim(1, -1).contiguous()
    return Patch(gather(spread, np.arange(len(spread)), *crops).movedim(-1, 1), reached[0], reached[1])


def _slide(
    output: Map, input: Map, sliding: tuple[Pair, ...], fill: float, run: Callable[[Tensor], Tensor]
) -> Patch | None:
    """Apply `run`, unpadded, to the outputs that a patch reaches by kernel, stride, padding and dilation."""
    down, across = map(Window, *map(_pair, sliding))
    assert input.patch is not None
    rows = down.outputs(input.patch.rows, output.size[0])
    columns = across.outputs(input.patch.columns, output.size[1])
    if input.channel_axis != 1 or almost_all(output.size, rows, columns):
        return None
    margin = (*down.margin(input.size[0], output.size[0]), *across.margin(input.size[1], output.size[1]))
    return Patch(run(input.window(down.inputs(rows), across.inputs(columns), Padding(*margin), fill)), rows, columns)


def almost_all(size: Sequence[int], rows: Span, columns: Span) -> bool:
    """Return whether a patch covers so much of a map of this size that the whole map is computed faster."""
    height, width = size
    return rows.size * columns.size >= ALMOST_ALL * height * width


def _union(output: Map, maps: Sequence[Map]) -> tuple[Span, Span]:
    """Rows and columns that cover the patches of all maps."""
    patches = [argument.patch for argument in maps if argument.patch is not None]
    rows, columns = patches[0].rows, patches[0].columns
    for patch in patches[1:]:
        rows = rows.joined(patch.rows, output.size[0])
        columns = columns.joined(patch.columns, output.size[1])
    return rows, columns


def _constant(constant: Tensor, output: Map, rows: Span, columns: Span) -> Tensor:
    """Window, for each image, of a tensor that is broadcast to a map."""
    shape = (1,) * (4 - constant.ndim) + tuple(constant.shape)
    axis = output.channel_axis
    if all(size == 1 for number, size in enumerate(shape) if number != axis):
        return constant
    places = [-1] * 4
    places[2 if axis == 1 else 1], places[3 if axis == 1 else 2] = output.size
    pixels = constant.reshape(shape).expand(places).movedim(axis, -1).contiguous()
    return gather(pixels, np.zeros_like(output.image), rows, columns).movedim(-1, axis)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _before(padding: Pair | str, kernel: Pair, dilation: Pair) -> Pair:
    """Padding above and left of a map; "same" splits it evenly, an odd pixel goes below and right."""
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
    F.conv_transpose2d: conv_transpose2d,
    F.max_pool2d: max_pool2d,
    F.avg_pool2d: avg_pool2d,
    F.batch_norm: mixes_channels(1),
    F.prelu: mixes_channels(1),
    F.channel_shuffle: mixes_channels(1),
    F.linear: mixes_channels(3),
    PackedLinear: mixes_channels(3),
    PackedConvolution: mixes_channels(1),
    keep_largest: mixes_channels(3),
    F.layer_norm: layer_norm,
    F.pad: pad,
    F.interpolate: interpolate,
    operator.getitem: channel_slice,
    PartOf: part_of_split,
    torch.cat: cat,
    torch.concat: cat,
    torch.permute: permute,
    Method("permute"): permute,
    Method("movedim"): movedim,
}
