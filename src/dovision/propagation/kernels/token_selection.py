"""The same graph, where one token is read at its end: what each token takes for itself is computed of that one alone.

A transformer that reads its class token needs of its last block the keys and values of all tokens, and all else of one.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision.propagation.graph import Graph, Method, Step
from dovision.propagation.graph_passes import named_arguments
from dovision.propagation.kernels.packed_attention import PackedAttention
from dovision.propagation.kernels.packed_linear import PackedLinear
from dovision.propagation.rules import pointwise, rule_of

_OF_TOKENS, _OF_HEADS = 1, 2  # axes of the tokens in values of shape (N, T, ...) and (N, heads, T, C / heads)
_TRANSPOSES = (torch.transpose, Method("transpose"))
_SHAPES = (torch.reshape, Method("reshape"))
_Operands = dict[Step, int]  # the axis of the tokens in each


def select_token(graph: Graph) -> Graph:
    """The graph with the pick of one token moved before every step that treats tokens separately."""
    for pick in graph.steps:
        source, token = _picked(pick)
        if source is not None:
            graph = _taken_early(graph, pick, token)
    return graph


def _picked(step: Step) -> tuple[Step | None, int]:
    """The tokens of which a step reads one, shape (N, T, C), None where it does not, and the number of that one."""
    if step.function is operator.getitem:
        source, index = step.args
        of_token = isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and type(index[1]) is int
        if of_token and index[1] >= 0 and isinstance(source, Step) and source.shape and len(source.shape) == 2:
            return source, index[1]
    return None, 0


def _taken_early(graph: Graph, pick: Step, token: int) -> Graph:
    readers = defaultdict(list)
    for step in graph.steps:
        for source in step.inputs():
            readers[source].append(step)
    operands: dict[Step, _Operands] = {pick: {pick.args[0]: _OF_TOKENS}}
    for step in reversed(graph.steps):
        axes = {operands.get(reader, {}).get(step) for reader in readers[step]}
        if len(axes) == 1 and step not in (graph.output, graph.site):
            found = _operands(step, axes.pop())
            if found is not None:
                operands[step] = found
    if len(operands) == 1:
        return graph
    taken: dict[tuple[Step, int], Step] = {}
    for axes_of in operands.values():
        for operand, axis in axes_of.items():
            if operand not in operands:
                one = Step(f"{operand.name}_token_{axis}", torch.narrow, (operand, axis, token, 1))
                one.images_first = operand.images_first
                taken[operand, axis] = one
    for step, axes_of in operands.items():
        ones = {operand: taken.get((operand, axis), operand) for operand, axis in axes_of.items()}
        step.args, step.kwargs = step.arguments(lambda each, ones=ones: ones.get(each, each))  # type: ignore[misc]
        if step is pick:
            step.args = (step.args[0], (slice(None), 0))
        elif isinstance(step.function, PackedAttention):
            step.function = step.function.of_token(token)
        elif step.function in _SHAPES:
            step.args = (*step.args[:2], 1, step.args[3])
        step.shape = None
    behind = {step: [one for (operand, _), one in taken.items() if operand is step] for step in graph.steps}
    return replace(graph, steps=tuple(each for step in graph.steps for each in (step, *behind[step])))


def _operands(step: Step, axis: int | None) -> _Operands | None:
    """The operands of which a step needs one token to give one; None where it needs others, or nothing is known."""
    inputs = step.inputs()
    if axis is None or step.shape is None or not inputs or inputs[0].shape is None:
        return None
    first, shape, before = inputs[0], step.shape, inputs[0].shape
    if axis == _OF_HEADS:
        query = _query(step)
        return None if query is None else {query: _OF_HEADS}
    if len(shape) == 3:
        swapped = step.function in _TRANSPOSES and step.args[1:] == (1, 2)
        return {first: _OF_HEADS} if swapped else None
    if type(step.function) is PackedAttention:
        return {}
    if step.function in _SHAPES:
        merged = step.args[2:] == shape and len(before) == 3 and before[0] == shape[0]
        return {first: _OF_TOKENS} if merged else None
    return dict.fromkeys(inputs, _OF_TOKENS) if _is_of_each_token(step, shape) else None


def _query(step: Step) -> Step | None:
    """The queries of attention without masks, to keys and values that are other steps; else None."""
    settings = {"attn_mask": None, "is_causal": False, "dropout_p": 0.0} | named_arguments(
        step, ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    )
    plain = settings["attn_mask"] is None and not settings["is_causal"] and not settings["dropout_p"]
    query: Any = settings.get("query")
    others = any(query is settings.get(name) for name in ("key", "value"))
    found = step.function is F.scaled_dot_product_attention and plain and isinstance(query, Step) and not others
    return query if found else None


def _is_of_each_token(step: Step, shape: tuple[int, ...]) -> bool:
    """Whether a result of shape (N, T, C) holds of each token what follows from the operands of that token alone."""
    shapes, function = [each.shape for each in step.inputs()], step.function
    if type(function) is PackedLinear or function in (F.linear, F.layer_norm):
        normalized = named_arguments(step, ("input", "normalized_shape")).get("normalized_shape", (0,))
        return [each and (each[0], len(each)) for each in shapes] == [(shape[0], 2)] and len(normalized) == 1
    if isinstance(function, nn.Module) and (function._forward_hooks or function._forward_pre_hooks):
        return False
    constants = [each for each in (*step.args, *step.kwargs.values()) if isinstance(each, Tensor)]
    alike = all(each == shape for each in shapes) and all(each.ndim <= 1 for each in constants)
    return alike and rule_of(step) is pointwise
