"""Convolutions and linear layers whose clean result is exact, and to which bfloat16 adds what an edit changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.functional.estimated_agreement import BF16_DIFFERENCE
from dovision.propagation.graph import Graph, Step, frozen
from dovision.propagation.graph_passes import CONVOLUTION, named_arguments, shapes_of
from dovision.propagation.kernels.packed_linear import PackedLinear

_ARGUMENTS = {F.conv2d: CONVOLUTION, F.linear: ("input", "weight", "bias")}
_WORTH_IT = 128  # multiply-adds for each value read or written, from which on half their time is more than the casts


class Bf16Difference(PackedLinear):
    """f(x) as f(clean) + f(x - clean), of which the second is in bfloat16: its error is relative to the change alone.

    Args:
        step: a convolution or a linear layer.
        weight: of it.
        settings: its other arguments by name.
    """

    def __init__(self, step: Step, weight: Tensor, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.weight = weight.detach().to(torch.bfloat16)
        if step.function is F.conv2d:
            self.weight = self.weight.contiguous(memory_format=torch.channels_last)
        self.product = partial(step.function, weight=self.weight, **settings)

    def __call__(self, input: Tensor, clean: Tensor, result: Tensor) -> Tensor:  # type: ignore[override]
        """f of edited inputs, shape (N m, ...), with the clean ones and their results, (m, ...) or (N m, ...)."""
        if input is clean:
            return self.joined(result.clone())
        change = input.view(-1, *clean.shape) - clean
        return self.added(self.product(change.flatten(0, 1).to(torch.bfloat16)), result)

    def added(self, change: Tensor, result: Tensor) -> Tensor:
        """The change of some results, in single precision, on the clean ones, with the activation behind them."""
        total = change.float()
        total.view(-1, *result.shape).add_(result)
        return self.joined(total)

    def joined(self, result: Tensor) -> Tensor:
        """Apply the activation, if any, in place."""
        in_place = self.activation.in_place
        return result if in_place is None else in_place(result)


def differ_in_bf16(graph: Graph, image: Tensor) -> Graph:
    """Run the convolutions and linear layers behind the site on the clean image, and in bfloat16 on what edits change.

    Left as they are: those in which casts take as long as they save, such as depthwise convolutions.

    Raises:
        ValueError: there are no others.
    """
    shapes, doubled = shapes_of(graph, image), shapes_of(graph, torch.cat([image, image]))
    of_site = graph.descendants(graph.site)
    steps: list[Step] = []
    for step in graph.steps:
        settings = named_arguments(step, _ARGUMENTS[step.function]) if step.function in _ARGUMENTS else {}
        source, weight = settings.pop("input", None), settings.pop("weight", None)
        settings.pop("bias", None)
        fixed = isinstance(weight, Tensor) and weight.dtype == torch.float32 and source in of_site
        if (
            fixed
            and all(_grows(shapes[of], doubled[of]) for of in (source, step))
            and _gains(weight, settings.get("groups", 1))
        ):
            clean = Step(f"{step.name}_clean_input", frozen, (source,))
            product = replace(step, name=f"{step.name}_clean")
            product.args, product.kwargs = step.arguments({source: clean}.__getitem__)
            result = Step(f"{step.name}_clean_result", frozen, (product,))
            steps += [clean, product, result]
            step.function, step.args, step.kwargs = Bf16Difference(step, weight, settings), (source, clean, result), {}
        steps.append(step)
    if len(steps) == len(graph.steps):
        raise ValueError(
            f"approximate={BF16_DIFFERENCE} is for networks with convolutions or linear layers of many channels, in "
            "single precision, behind the site, got one without. Leave it out."
        )
    return replace(graph, steps=tuple(steps))


def _grows(shape: Sequence[int], doubled: Sequence[int]) -> bool:
    """Return whether a value has the images, or windows of one after the other, on its first axis and no other."""
    return tuple(doubled) == (2 * shape[0], *shape[1:])


def _gains(weight: Tensor, groups: int) -> bool:
    """Return whether a product, with weights of shape (K, C / groups, ...), gains more than its casts take."""
    outputs, inputs = weight.shape[:2]
    return weight.numel() >= _WORTH_IT * (outputs + groups * inputs)
