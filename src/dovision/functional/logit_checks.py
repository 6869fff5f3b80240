"""Checks that what a network returns are logits: one tensor, one finite number per class, no probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from dovision import checks


def logits(output: object, images: int, classes: int) -> Tensor:
    """Return a network's output if it is one tensor of shape (images, classes), floating point.

    Raises:
        ValueError: it is something else; the error says what to wrap the network in, or how many classes there are.
    """
    if not isinstance(output, Tensor):
        raise ValueError(
            f"the network must return one tensor of logits, shape (B, K), got {_described(output)}. "
            f"Wrap it in a module whose forward returns {_tensor_of(output)}."
        )
    checks.dense("the network's output", output)
    if output.ndim != 2 or len(output) != images or not output.is_floating_point():
        raise ValueError(
            f"the network must return logits of shape (B, K), floating point, got {output.dtype} of shape "
            f"{tuple(output.shape)} for {images} images. Wrap it in a module whose forward returns that."
        )
    if output.shape[1] != classes:
        found = output.shape[1]
        remedy = f"name the classes of all its outputs, in their order (classes={found}, or a list of {found} names)"
        if found == 1:
            remedy = "one output is one class of a multilabel task (classes=['disease'], task='multilabel')"
        raise ValueError(f"the network must have one output per class, {classes}, got {found}: {remedy}.")
    return output


def finite(values: Tensor, name: str) -> Tensor:
    """Return logits, the images on their first axis, if all are finite."""
    bad = (~values.isfinite()).flatten(1).any(1).nonzero()
    if len(bad):
        raise ValueError(
            f"the network's {name} must be finite, got nan or inf for image {bad[0].item()} of the batch. "
            "Look at its weights, and at operations that overflow or divide by zero."
        )
    return values


def ending(values: Tensor) -> str:
    """Last layer of a network, judged by its outputs, shape (B, K): softmax, sigmoid, or, as it should, neither: ""."""
    if values.min() < 0 or values.max() > 1:
        return ""
    total = values.float().sum(-1)
    return "softmax" if torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-3) else "sigmoid"


def _described(output: object) -> str:
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with the keys {', '.join(repr(key) for key in output)}"
    return f"a {kind} of {len(output)}" if isinstance(output, (tuple, list)) else f"a {kind}"


def _tensor_of(output: object) -> str:
    """Python code for what are probably the logits."""
    names = [field.name for field in dataclasses.fields(output)] if dataclasses.is_dataclass(output) else []
    if hasattr(output, "logits") or names:
        return f"network(image).{'logits' if hasattr(output, 'logits') else names[0]}"
    if isinstance(output, Mapping):
        keys = [key for key in ("logits", "out", "output") if key in output] or list(output)
        return f"network(image)[{keys[0]!r}]" if keys else "logits"
    return "network(image)[0]" if isinstance(output, (tuple, list)) else "logits"
