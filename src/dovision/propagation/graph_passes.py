"""The same graph, faster: batch-norm folded, splits taken apart, weights laid out, activations in place."""

from __future__ import annotations

import copy
import operator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dovision.propagation.graph import Graph, Method, PartOf, Step

_SPLITS = (torch.split, torch.chunk, Method("split"), Method("chunk"))
MAKE_NEW = (F.conv2d, F.batch_norm, F.linear, operator.add)  # their results share no memory with their operands
_ONE_MORE = (0, 0, 0, 0, 0, 1)  # channel, as of F.pad
CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def fold_batch_norm(graph: Graph) -> Graph:
    """The graph with each batch-norm that alone reads a convolution's result folded into a copy of its weights.

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
        settings, statistics = _named(convolution, CONVOLUTION), {"eps": 1e-5} | _named(norm, BATCH_NORM)
        if statistics.get("training") or len(convolution.inputs()) > 1 or len(norm.inputs()) > 1:
            continue
        of_norm: Any = (statistics.get(name) for name in ("running_mean", "running_var", "eps", "weight", "bias"))
        weight, bias = fuse_conv_bn_weights(settings["weight"], settings.get("bias"), *of_norm)
        settings |= {"weight": weight.detach(), "bias": bias.detach()}
        norm.function, norm.args, norm.kwargs = F.conv2d, (settings.pop("input"),), settings
        folded.add(convolution)
    return replace(graph, steps=tuple(step for step in graph.steps if step not in folded))


def take_splits_apart(graph: Graph) -> Graph:
    """The graph with each part of a split as a step of its own, and no split that nothing else reads."""
    for step in graph.steps:
        if step.function is not operator.getitem or not isinstance(step.args[0], Step):
            continue
        split, number = step.args
        if split.function in _SPLITS and isinstance(number, int):
            step.function, step.args, step.kwargs = PartOf(split.function, number), split.args, split.kwargs
    readers = graph.readers()
    return replace(graph, steps=tuple(step for step in graph.steps if step.function not in _SPLITS or readers[step]))


def lay_out_channels_last(graph: Graph) -> Graph:
    """The graph with copies of the convolutions' weights in the layout that the processor's kernels read.

    A convolution of one channel gets another one, of zeros: its own kernel gives a window of a map other bits than the
    map.
    """
    steps = []
    for step in graph.steps:
        if step.function is F.conv2d:
            settings = _named(step, CONVOLUTION)
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
    """Let an activation write into its operand, where nothing else reads it and it is not to be stored."""
    readers = graph.readers()
    for step in graph.steps:
        source = step.args[0] if step.args else None
        if not isinstance(source, Step) or source in stored or readers[source] > 1 or source.function not in MAKE_NEW:
            continue
        if step.function is F.relu:
            step.function = torch.relu_
        elif isinstance(step.function, nn.Module) and hasattr(step.function, "inplace"):
            step.function = copy.copy(step.function)
            step.function.__dict__["inplace"] = True


def _named(step: Step, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, step.args, strict=False)) | step.kwargs
