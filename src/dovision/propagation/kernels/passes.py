"""The same graph with faster kernels of a processor."""

from __future__ import annotations

import inspect
import operator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision.propagation.graph import Graph, Step
from dovision.propagation.graph_passes import CONVOLUTION, named_arguments
from dovision.propagation.kernels.packed_attention import PackedAttention, PackedWindowAttention
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


def pack_linear(graph: Graph) -> Graph:
    """Replace linear layers and 1 x 1 convolutions by packed ones, fused with an activation that alone reads them."""
    for step in graph.steps if can_pack() else ():
        kernel_class, settings = _packable(step)
        weight: Any = settings.get("weight")
        bias: Any = settings.get("bias")
        if kernel_class is not None and (bias is None or (_is_fixed(bias) and bias.shape == weight.shape[:1])):
            step.function = kernel_class(weight.detach(), None if bias is None else bias.detach())
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
    """Replace torch's self-attention and torchvision's window attention by packed kernels."""
    readers, results = graph.readers(), _attention_results(graph)
    joined: dict[Step, Step] = {}
    for step in graph.steps if can_pack() else ():
        step.args, step.kwargs = step.arguments(lambda operand: joined.get(operand, operand))
        kernel: PackedAttention | None = None
        if type(step.function) is nn.MultiheadAttention:
            tokens, weights = results.get(step, ([], []))
            alone = readers[step] == len(tokens) + len(weights) and not any(readers[operand] for operand in weights)
            if alone and graph.output not in tokens:
                kernel = _token_attention(step, step.function)
            if kernel is not None:
                joined.update(dict.fromkeys([*tokens, *weights], step))
                step.function, step.args, step.kwargs = kernel, step.args[:1], {}
        elif (getattr(step.function, "__module__", ""), getattr(step.function, "__name__", "")) == _WINDOWS:
            _pack_window_attention(step)
    return replace(graph, steps=tuple(step for step in graph.steps if step not in joined))


def _attention_results(graph: Graph) -> dict[Step, tuple[list[Step], list[Step]]]:
    """Readers of the first and of the second result of each step with two results."""
    results: dict[Step, tuple[list[Step], list[Step]]] = {}
    for step in graph.steps:
        source, number = step.args if step.function is operator.getitem else (None, None)
        if isinstance(source, Step) and isinstance(number, int) and number in (0, 1):
            results.setdefault(source, ([], []))[number].append(step)
    return results


def _token_attention(step: Step, module: nn.MultiheadAttention) -> PackedAttention | None:
    """Packed form of torch's module in eval mode, for self-attention without masks."""
    options = {name: item for name, item in step.kwargs.items() if name not in ("need_weights", "average_attn_weights")}
    alone = len(step.args) == 3 and step.args[0] is step.args[1] is step.args[2]
    alone = alone and all(item is None or item is False for item in options.values())
    usual = module.batch_first and module.bias_k is None and not module.add_zero_attn and not module.training
    hooked = any((*item._forward_hooks, *item._forward_pre_hooks) for item in module.modules())
    into, back = (module.in_proj_weight, module.in_proj_bias), (module.out_proj.weight, module.out_proj.bias)
    fixed = _are_fixed(into) and _are_fixed(back)  # there are no joint weights where keys have another width
    return PackedAttention(into, back, module.num_heads) if alone and usual and not hooked and fixed else None


def _pack_window_attention(step: Step) -> None:
    """Pack torchvision's window attention where its scores are products of queries and keys."""
    bound = inspect.signature(step.function).bind(*step.args, **step.kwargs)
    bound.apply_defaults()
    settings = bound.arguments
    into, back = ((settings[f"{name}_weight"], settings[f"{name}_bias"]) for name in ("qkv", "proj"))
    scores, usual = settings["relative_position_bias"], settings["logit_scale"] is None and not settings["training"]
    if usual and _is_fixed(scores) and _are_fixed(into) and _are_fixed(back):
        of_windows = (settings["num_heads"], scores, settings["window_size"], settings["shift_size"])
        step.function, step.args, step.kwargs = PackedWindowAttention(into, back, *of_windows), (settings["input"],), {}


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
