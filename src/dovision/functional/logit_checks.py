"""Checks that what a network returns are logits, one tensor with a number per class, and good enough to measure by."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.functional import outputs
from dovision.types import Task

LEAST_BYTES = torch.float32.itemsize  # the least of a number by which effects can be measured


def logits(output: object, images: int, classes: int) -> Tensor:
    """Return a network's output if it is one tensor of shape (images, classes), floating point.

    Raises:
        ValueError: it is something else; the error says what to wrap the network in, or how many classes there are.
    """
    if not isinstance(output, Tensor):
        raise ValueError(
            f"the network must return one tensor of logits, shape (B, K), got {outputs.described(output)}. "
            f"{outputs.remedy(output)}"
        )
    checks.dense("the network's output", output)
    if output.ndim != 2 or len(output) != images or not output.is_floating_point():
        remedy = "Wrap it in a module whose forward returns that, or read them: output=function."
        if output.ndim == 4:
            remedy = "Read them from its maps: output=MeanLogit(...) or output=ClassShare(...)."
        raise ValueError(
            f"the network must return logits of shape (B, K), floating point, got {output.dtype} of shape "
            f"{tuple(output.shape)} for {images} images. {remedy}"
        )
    if output.shape[1] != classes:
        width = output.shape[1]
        raise ValueError(
            f"the network must have one output per class, {classes}, got {width}: name the classes of all its outputs, "
            f"in their order (classes={width}, or a list of {width} names). If they are features of a backbone, and no "
            f"classes, add its head, such as nn.Linear({width}, {classes})."
        )
    return output


def measurable(values: Tensor, name: str) -> Tensor:
    """Return logits, images on the first axis, on the CPU if effects can be computed from them.

    Raises:
        ValueError: one is not finite, or they were computed in 16 bits, of which the rounding hides most effects.
    """
    device = values.device.type
    if torch.is_autocast_enabled(device):
        refuse_16_bits(name, f"torch.autocast({device!r})")
    if values.dtype.itemsize < LEAST_BYTES:
        refuse_16_bits(name, values.dtype)
    values = values.cpu()  # once: each question about them would wait for a device
    bad = (~values.isfinite()).flatten(1).any(1).nonzero()
    if len(bad):
        raise ValueError(
            f"the network's {name} must be finite, got nan or inf for image {bad[0].item()} of the batch. "
            "Look at its weights, and at operations that overflow or divide by zero."
        )
    return values


def refuse_16_bits(name: str, got: object) -> None:
    """Raise with what was computed in 16 bits, and how to change it."""
    raise ValueError(
        f"the network's {name} must be computed in float32 or float64, got {got}: in 16 bits a probability has three "
        "digits, and most effects are rounding. Cast the network, network.float(), and leave torch.autocast; with "
        "Lightning set precision='32-true', or 'bf16-mixed', which concerns the fit alone."
    )


def ending(values: Tensor) -> str:
    """Guess a network's last layer from its outputs, shape (B, K): softmax, sigmoid, or "" for logits."""
    if values.min() < 0 or values.max() > 1:
        return ""
    total = values.float().sum(-1)
    return "softmax" if torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-3) else "sigmoid"


def independent(beside: Tensor, alone: Tensor, task: Task, precision: float = 1e-4) -> None:
    """Raise unless logits of images in a batch, shape (B, K), are those that they have `alone`; see `logits_agree`."""
    beside = beside.to(alone.device)
    if not logits_agree(beside, alone, task, precision=precision):
        change = (beside - alone).abs().max().item()
        raise ValueError(
            "the classifier's output for an image must not depend on the other images of its batch, but it does, by "
            f"{change:.2g} in a logit. Look for normalisation or quantisation over the batch, dropout or other draws "
            "that stay on in eval mode, a state that changes with each call, or weights that blow up rounding."
        )


def logits_agree(got: Tensor, expected: Tensor, task: Task, tolerance: float = 1.0, precision: float = 1e-4) -> bool:
    """Return whether logits agree: to `precision` times the largest of them, and in probability to `tolerance`.

    Logits of classes whose probability is 0, such as masked ones, are compared by the largest among themselves.
    """
    if got.shape != expected.shape:
        return False
    precision = max(precision, 32 * torch.finfo(expected.dtype).eps)
    size = expected.nan_to_num().abs()
    possible = task.probability(expected.float()) > 0
    ours, others = (torch.where(group, size, 0).amax(1, keepdim=True) for group in (possible, ~possible))
    close = (got - expected).abs() <= precision * torch.where(possible, ours, others).clamp_min(1e-3)
    close |= (got == expected) | (got.isnan() & expected.isnan())
    change = task.probability(got.float()) - task.probability(expected.float())
    return bool(close.all() & ~(change.abs().max() > tolerance))
