"""Direction of a small step of the image, before it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dovision.interfaces import Classifier
from dovision.module_state import differentiable


def gradient_signs(
    image: Tensor, classifier: Classifier, values: Callable[[Tensor], Sequence[Tensor]]
) -> tuple[Tensor, ...]:
    """Signs of the image gradients of several values, each of shape (B, C, H, W), detached.

    Args:
        image: shape (B, C, H, W).
        classifier: which the values are computed by; stays as it is.
        values: of images, tensors of shape (B,), each of an image alone.
    """
    with differentiable(classifier):
        leaf = image.detach().clone().requires_grad_()
        leaves = values(leaf)
        return tuple(torch.autograd.grad(value.sum(), leaf, retain_graph=True)[0].sign() for value in leaves)
