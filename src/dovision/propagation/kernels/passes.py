"""The same graph with faster kernels of a processor: packed products, and window attention with a fused one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision.propagation.graph import Graph, Step
from dovision.propagation.graph_passes import CONVOLUTION, named_arguments
from dovision.propagation.kernels.packed_linear import (
    JOINED_ACTIVATIONS,
    JoinedActivation,
    PackedConvolution,
    PackedLinear,
    can_pack,
)

_ONCE = (1, (1, 1))
_WINDOWS = ("torchvision.models.swin_transformer", "shifted_window_attention")
_OPTIONS = {"inplace": (True, False), "approximate": ("none",)}  # of activations that are packed, and their values
_Size = tuple[int, int]
_FAR = -100.0  # added to the score of tokens of a window that are no neighbours in the map, as torchvision has it


class PackedWindowAttention:
    """Attention inside the windows of maps, shape (N, H, W, C), as torchvision's `shifted_window_attention`.

    Where scores overflow, torch gives nan, and this one numbers.

    Args:
        into: weights of the projection to queries, keys and values, shape (3 C, C), and bias, shape (3 C,).
        back: weights of the projection of what the heads have read, shape (C, C), and bias, shape (C,).
        heads: number of heads.
        scores: added to those of the T tokens of a window, shape (1, heads, T, T).
        window: rows and columns.
        shift: rows and columns by which the windows are moved.
    """

    def __init__(
        self,
        into: tuple[Tensor, Tensor | None],
        back: tuple[Tensor, Tensor | None],
        heads: int,
        scores: Tensor,
        window: Sequence[int],
        shift: Sequence[int],
    ) -> None:
        self.into, self.back = PackedLinear(*into), PackedLinear(*back)
        self.heads, self.bias = heads, scores.detach()
        self.window, self.shift = (window[0], window[1]), (shift[0], shift[1])
        self._scores: dict[_Size, Tensor] = {}  # what is added to them, by the size of the map

    def __call__(self, maps: Tensor) -> Tensor:
        images, height, width, channels = maps.shape
        rows, columns = self.window
        padded = F.pad(maps, (0, 0, 0, -width % columns, 0, -height % rows))
        size = (padded.shape[1], padded.shape[2])
        down, across = (0 if self.window[axis] >= size[axis] else self.shift[axis] for axis in (0, 1))
        moved = padded.roll((-down, -across), (1, 2)) if down or across else padded
        windows = moved.view(images, size[0] // rows, rows, size[1] // columns, columns, channels).transpose(2, 3)
        read = self._read(windows.reshape(-1, rows * columns, channels), size, (down, across))
        whole = read.view(windows.shape).transpose(2, 3).reshape(padded.shape)
        back = whole.roll((down, across), (1, 2)) if down or across else whole
        return back[:, :height, :width].contiguous()

    def _read(self, tokens: Tensor, size: _Size, shift: _Size) -> Tensor:
        """Attend inside all windows; tokens of the same shape."""
        images, positions, channels = tokens.shape
        projected = self.into(tokens).view(images, positions, 3, self.heads, channels // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        if not any(shift):
            return self.back(_merged(F.scaled_dot_product_attention(query, key, value, self.bias)))
        if size not in self._scores:
            self._scores[size] = self.bias + _far(size, self.window, shift, self.bias.dtype).unsqueeze(1)
        added = self._scores[size]
        read = [  # the windows of one map at a time, which have these scores in common
            _merged(F.scaled_dot_product_attention(query[windows], key[windows], value[windows], added))
            for windows in (slice(first, first + len(added)) for first in range(0, len(tokens), len(added)))
        ]
        return self.back(torch.cat(read))


def _far(size: _Size, window: _Size, shift: _Size, dtype: torch.dtype) -> Tensor:
    """Attention mask of each window of cyclically shifted maps, shape (windows, T, T)."""
    down, across = (
        (torch.arange(side) >= side - window[axis]).long() + (torch.arange(side) >= side - shift[axis]).long()
        for axis, side in enumerate(size)
    )
    region = 3 * down[:, None] + across  # of the map, among the nine that the moved windows cut
    tiles = region.view(size[0] // window[0], window[0], size[1] // window[1], window[1]).transpose(1, 2)
    of_window = tiles.reshape(-1, window[0] * window[1])
    apart = of_window.unsqueeze(1) != of_window.unsqueeze(2)
    return torch.zeros(apart.shape, dtype=dtype).masked_fill(apart, _FAR)


def _merged(of_heads: Tensor) -> Tensor:
    """Merge heads, shape (N, heads, T, C / heads), into tokens, shape (N, T, C)."""
    return of_heads.transpose(1, 2).flatten(2)


def pack_linear(graph: Graph) -> Graph:
    """Replace linear layers and 1 x 1 convolutions by packed ones, fused with an activation that alone reads them."""
    for step in graph.steps if can_pack() else ():
        kernel_class, settings = _packable(step)
        weight: Any = settings.get("weight")
        bias: Any = settings.get("bias")
        if kernel_class is not None and (bias is None or (_is_fixed(bias) and bias.shape == weight.shape[:1])):
            step.function = kernel_class(weight, bias)
            step.args, step.kwargs = (settings["input"],), {}
    readers = graph.readers()
    joined: dict[Step, Step] = {}
    for step in graph.steps:
        step.args, step.kwargs = step.arguments(lambda operand: joined.get(operand, operand))
        source, activation = (step.args or (None,))[0], _activation(step)
        if activation is None or not isinstance(source, Step) or readers[source] > 1:
            continue
        kernel = source.function
        if isinstance(kernel, PackedLinear) and not kernel.joins and step is not graph.output:
            kernel.activation = activation
            joined[step] = source
    return replace(graph, steps=tuple(step for step in graph.steps if step not in joined))


def pack_attention(graph: Graph) -> Graph:
    """Replace torchvision's window attention by a packed kernel where scores are products of queries and keys."""
    for step in graph.steps if can_pack() else ():
        if (getattr(step.function, "__module__", ""), getattr(step.function, "__name__", "")) != _WINDOWS:
            continue
        bound = inspect.signature(step.function).bind(*step.args, **step.kwargs)
        bound.apply_defaults()
        settings = bound.arguments
        into, back = ((settings[f"{name}_weight"], settings[f"{name}_bias"]) for name in ("qkv", "proj"))
        scores, usual = settings["relative_position_bias"], settings["logit_scale"] is None and not settings["training"]
        if usual and _is_fixed(scores) and _are_fixed(into) and _are_fixed(back):
            attention = PackedWindowAttention(
                into, back, settings["num_heads"], scores, settings["window_size"], settings["shift_size"]
            )
            step.function, step.args, step.kwargs = attention, (settings["input"],), {}
    return graph


def _are_fixed(projection: tuple[Any, Any]) -> bool:
    """Return whether weights and bias, if any, do not depend on the image."""
    weight, bias = projection
    return _is_fixed(weight) and (bias is None or (_is_fixed(bias) and bias.shape == weight.shape[:1]))


def _packable(step: Step) -> tuple[type[PackedLinear] | None, dict[str, Any]]:
    """Packed form of a step (None if there is none) and its arguments by name."""
    if step.function is F.linear:
        settings = named_arguments(step, ("input", "weight", "bias"))
        weight: Any = settings["weight"]
        return (PackedLinear if _is_fixed(weight) and weight.ndim == 2 else None), settings
    if step.function is F.conv2d:
        settings = {"stride": 1, "padding": 0, "groups": 1} | named_arguments(step, CONVOLUTION)
        weight = settings["weight"]
        single = _is_fixed(weight) and weight.shape[2:] == (1, 1) and settings["groups"] == 1
        alone = single and settings["stride"] in _ONCE and settings["padding"] in (0, (0, 0), "valid", "same")
        return (PackedConvolution if alone else None), settings
    return None, {}


def _is_fixed(weight: Any) -> bool:
    return isinstance(weight, Tensor) and weight.dtype == torch.float32 and weight.layout is torch.strided


def _activation(step: Step) -> JoinedActivation | None:
    """Activation to fuse with the product before the step; None if its settings are unusual."""
    function, options = step.function, dict(step.kwargs)
    if not isinstance(function, nn.Module):
        activation_class: Any = function
    elif function._forward_hooks or function._forward_pre_hooks:
        return None
    else:
        activation_class = type(function)
        options = {name: getattr(function, name) for name in _OPTIONS if hasattr(function, name)}
    usual = len(step.args) == 1 and all(value in _OPTIONS.get(name, ()) for name, value in options.items())
    return JOINED_ACTIVATIONS.get(activation_class) if usual else None
