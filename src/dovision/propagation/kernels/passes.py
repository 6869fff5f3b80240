"""The same graph with faster kernels of a processor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision.propagation.graph import Graph, Step
from dovision.propagation.graph_passes import CONVOLUTION, named_arguments
from dovision.propagation.kernels.packed_linear import (
    JOINED_ACTIVATIONS,
    PackedConvolution,
    PackedLinear,
    can_pack,
)
from dovision.propagation.kernels.winograd import LEAST_CHANNELS, Winograd

_ONCE = (1, (1, 1))
_OPTIONS = {"inplace": (True, False), "approximate": ("none",)}  # of activations that are packed, and their values


def save_products(graph: Graph) -> Graph:
    """The graph with convolutions of 3 x 3 places and many channels by fewer products, see `winograd`."""
    for step in graph.steps:
        if step.function is F.conv2d:
            settings = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1} | named_arguments(
                step, CONVOLUTION
            )
            weight, padding = settings["weight"], settings["padding"]
            single = settings["groups"] == 1 and settings["stride"] in _ONCE and settings["dilation"] in _ONCE
            dense = _is_fixed(weight) and weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= LEAST_CHANNELS
            if single and dense and padding in (0, (0, 0), *_ONCE):
                padding = (padding, padding) if isinstance(padding, int) else padding
                step.function = Winograd(weight.detach(), settings["bias"], padding)
                step.args, step.kwargs = (settings["input"],), {}
    return graph


def pack_linear(graph: Graph) -> Graph:
    """The graph with packed linear layers and 1 x 1 convolutions, each with the activation that alone reads it."""
    for step in graph.steps if can_pack() else ():
        kind, settings = _packable(step)
        weight: Any = settings.get("weight")
        bias: Any = settings.get("bias")
        if kind is not None and (bias is None or (_is_fixed(bias) and bias.shape == weight.shape[:1])):
            step.function = kind(weight.detach(), None if bias is None else bias.detach())
            step.args, step.kwargs = (settings["input"],), {}
    readers = graph.readers()
    joined: dict[Step, Step] = {}
    for step in graph.steps:
        step.args, step.kwargs = step.arguments(lambda each: joined.get(each, each))
        source, activation = (step.args or (None,))[0], _activation(step)
        if activation is None or not isinstance(source, Step) or readers[source] > 1:
            continue
        kernel = source.function
        if isinstance(kernel, PackedLinear) and kernel.activation == ("none", "") and step is not graph.output:
            kernel.activation = activation
            joined[step] = source
    return replace(graph, steps=tuple(step for step in graph.steps if step not in joined))


def _packable(step: Step) -> tuple[type[PackedLinear] | None, dict[str, Any]]:
    """The packed form of a step, None where it has none, and its arguments by their names."""
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


def _activation(step: Step) -> tuple[str, str] | None:
    """What a step is to oneDNN, if it is an activation with the usual settings."""
    function, options = step.function, dict(step.kwargs)
    if not isinstance(function, nn.Module):
        kind: Any = function
    elif function._forward_hooks or function._forward_pre_hooks:
        return None
    else:
        kind = type(function)
        options = {name: getattr(function, name) for name in _OPTIONS if hasattr(function, name)}
    usual = len(step.args) == 1 and all(value in _OPTIONS.get(name, ()) for name, value in options.items())
    return JOINED_ACTIVATIONS.get(kind) if usual else None
