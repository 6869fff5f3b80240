"""The same graph, faster: batch-norm folded, splits taken apart, weights laid out, activations in place."""

from __future__ import annotations

import copy
import operator
from collections import Counter
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from dovision.propagation.graph import Graph, Method, PartOf, Step
from dovision.propagation.kernels.packed_linear import PackedLinear

_SPLITS = (torch.split, torch.chunk, Method("split"), Method("chunk"))
_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in eval mode
_TRANSPOSES = (torch.transpose, Method("transpose"))
_VIEWS = (torch.reshape, Method("reshape"), Method("view"))
MAKE_NEW = (F.conv2d, F.batch_norm, F.linear, operator.add)  # their results share no memory with their operands
_ONE_MORE = (0, 0, 0, 0, 0, 1)  # channel, as of F.pad
CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def compute_constants(graph: Graph) -> Graph:
    """Replace steps that do not depend on the image by their results."""
    of_image = graph.descendants(graph.image)
    values: dict[Step, Any] = {}

    def value(step: Step) -> Any:
        return values.get(step, step)

    for step in graph.steps:
        args, kwargs = step.arguments(value)
        if step in of_image:
            step.args, step.kwargs = args, kwargs
        else:
            values[step] = step.function(*args, **kwargs)
    return replace(graph, steps=tuple(step for step in graph.steps if step in of_image))


def join_channel_shuffle(graph: Graph) -> Graph:
    """Join a channel shuffle by reshaping, (B, C) to (B, G, C / G) and back, into one step."""
    for step in graph.steps:
        shuffled = _shuffled(step)
        if shuffled is not None:
            step.function, step.args, step.kwargs = F.channel_shuffle, shuffled, {}
    needed = graph.ancestors(graph.site, graph.image)
    return replace(graph, steps=tuple(step for step in graph.steps if step in needed))


def _shuffled(step: Step) -> tuple[Step, int] | None:
    """The map and the number of groups of a view that shuffles its channels; None for any other view."""
    transposed = _operand(step)
    if transposed is not None and transposed.function == Method("contiguous"):
        transposed = _operand(transposed)
    split = None if transposed is None else _operand(transposed)
    if transposed is None or split is None or transposed.function not in _TRANSPOSES:
        return None
    before, after, source = _sizes(split), _sizes(step), _operand(split)
    if transposed.args[1:] != (1, 2) or len(before) != 5 or len(after) != 4 or source is None:
        return None
    _, groups, channels, height, width = before
    numbers = all(isinstance(size, int) and size > 0 for size in before[1:])
    if not numbers or after[1:] not in ((groups * channels, height, width), (-1, height, width)):
        return None
    return source, groups


def _operand(step: Step) -> Step | None:
    source = step.args[0] if step.args else None
    return source if isinstance(source, Step) else None


def _sizes(step: Step) -> tuple[Any, ...]:
    """Sizes given to a view; empty for any other step."""
    if step.function not in _VIEWS:
        return ()
    sizes = step.args[1:]
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold each batch-norm that is a convolution's only reader into a copy of the convolution's weights.

    The graph's own steps are rewritten; the classifier is not touched.
    """
    readers = graph.readers()
    folded = set()
    for norm in graph.steps:
        convolution = norm.args[0] if norm.args else None
        if norm.function is not F.batch_norm or not isinstance(convolution, Step):
            continue
        if convolution.function is not F.conv2d or readers[convolution] != 1:
            continue
        settings = named_arguments(convolution, CONVOLUTION)
        statistics = {"eps": 1e-5} | named_arguments(norm, BATCH_NORM)
        if statistics.get("training") or len(convolution.inputs()) > 1 or len(norm.inputs()) > 1:
            continue
        of_norm: Any = (statistics.get(name) for name in ("running_mean", "running_var", "eps", "weight", "bias"))
        weight, bias = fuse_conv_bn_weights(settings["weight"], settings.get("bias"), *of_norm)
        settings |= {"weight": weight.detach(), "bias": bias.detach()}
        norm.function, norm.args, norm.kwargs = F.conv2d, (settings.pop("input"),), settings
        folded.add(convolution)
    for step in graph.steps:
        folded.update(_folded_into_linear(step, readers))
    return replace(graph, steps=tuple(step for step in graph.steps if step not in folded))


def _folded_into_linear(step: Step, readers: Counter[Step]) -> list[Step]:
    """Fold norm(linear(x).flatten(0, 1)).reshape_as(linear(x)), as LeViT has it; return the steps that fall away."""
    norm, linear = step.args if step.function == Method("reshape_as") and len(step.args) == 2 else (None, None)
    flat = _operand(norm) if isinstance(norm, Step) and type(norm.function) is nn.BatchNorm1d else None
    if norm is None or flat is None or not isinstance(linear, Step) or linear.function is not F.linear:
        return []
    if (flat.function, flat.args) != (Method("flatten"), (linear, 0, 1)) or len(linear.inputs()) > 1:
        return []
    if [readers[norm], readers[flat], readers[linear]] != [1, 1, 2]:
        return []
    settings, batch_norm = named_arguments(linear, ("input", "weight", "bias")), norm.function
    if batch_norm.weight is None or batch_norm._forward_hooks or batch_norm._forward_pre_hooks:
        return []
    statistics = (getattr(batch_norm, name) for name in ("running_mean", "running_var", "eps", "weight", "bias"))
    weight, bias = fuse_linear_bn_weights(settings["weight"], settings.get("bias"), *statistics)
    step.function, step.args, step.kwargs = F.linear, (settings["input"], weight.detach(), bias.detach()), {}
    return [norm, flat, linear]


def drop_identities(graph: Graph) -> Graph:
    """Remove steps that return their operand."""
    source_of: dict[Step, Step] = {}

    def source(step: Step) -> Step:
        return source_of.get(step, step)

    for step in graph.steps:
        step.args, step.kwargs = step.arguments(source)
        operand, function = _operand(step), step.function
        hooked = isinstance(function, nn.Module) and (function._forward_hooks or function._forward_pre_hooks)
        if type(function) in _IDENTITIES and not hooked and operand is not None and step is not graph.output:
            source_of[step] = operand
    return replace(graph, steps=tuple(step for step in graph.steps if step not in source_of))


def take_splits_apart(graph: Graph) -> Graph:
    """Make each part of a split a step of its own, and drop splits that nothing else reads."""
    for step in graph.steps:
        if step.function is not operator.getitem or not isinstance(step.args[0], Step):
            continue
        split, number = step.args
        if split.function in _SPLITS and isinstance(number, int):
            step.function, step.args, step.kwargs = PartOf(split.function, number), split.args, split.kwargs
    readers = graph.readers()
    return replace(graph, steps=tuple(step for step in graph.steps if step.function not in _SPLITS or readers[step]))


def lay_out_channels_last(graph: Graph) -> Graph:
    """Copy convolution weights into the memory layout that the processor's kernels read.

    A convolution of one channel gets another one, of zeros: its own kernel gives a window of a map other bits than the
    map.
    """
    steps = []
    for step in graph.steps:
        if step.function is F.conv2d:
            settings = named_arguments(step, CONVOLUTION)
            if isinstance(settings["weight"], Tensor):
                weight, source = settings["weight"].detach(), settings.pop("input")
                if weight.shape[1] == 1 and settings.get("groups", 1) == 1 and isinstance(source, Step):
                    source = Step(f"{step.name}_two_channels", F.pad, (source, _ONE_MORE))
                    weight = F.pad(weight, _ONE_MORE)
                    steps.append(source)
                settings["weight"] = weight.contiguous(memory_format=torch.channels_last)
                step.args, step.kwargs = (source,), settings
        steps.append(step)
    return replace(graph, steps=tuple(steps))


def use_in_place(graph: Graph, stored: set[Step]) -> None:
    """Let an activation overwrite its operand if nothing else reads it and it is not to be stored."""
    readers = graph.readers()
    for step in graph.steps:
        source = step.args[0] if step.args else None
        if not isinstance(source, Step) or source in stored or readers[source] > 1:
            continue
        if source.function not in MAKE_NEW and not isinstance(source.function, PackedLinear):
            continue
        if step.function is F.relu:
            step.function = torch.relu_
        elif isinstance(step.function, nn.Module) and hasattr(step.function, "inplace"):
            step.function = copy.copy(step.function)
            step.function.__dict__["inplace"] = True


def named_arguments(step: Step, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a step by their names."""
    return dict(zip(names, step.args, strict=False)) | step.kwargs
