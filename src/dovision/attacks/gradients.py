"""Gradients with respect to the image, and how many of them an attack cannot use."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision.attacks.losses import Loss, task_loss
from dovision.interfaces import Classifier
from dovision.module_state import differentiable
from dovision.types import Batch


def logits_and_gradient(image: Tensor, label: Tensor, classifier: Classifier, loss: Loss) -> tuple[Tensor, Tensor]:
    """Logits, shape (B, K), and gradient of each image's loss, shape (B, C, H, W).

    A network that lets no gradient through has a gradient of zero, which `dead_gradients` counts.
    """
    leaf = image.clone().requires_grad_()
    logits = classifier(leaf)
    value = loss(logits, label, classifier.task).sum()
    if not value.requires_grad:
        return logits, torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    return logits.detach(), gradient


def dead_gradients(batch: Batch, classifier: Classifier) -> Tensor:
    """Share of an image's pixels whose gradient of the task's loss is zero or not finite, shape (B,) in [0, 1].

    It is 1 of a classifier that gives no gradient, such as a callable or an ONNX file.
    Where it is large an attack by gradient finds no way, and an image that it leaves alone is no proof of robustness.

    Source: arXiv:1802.00420, on masked gradients.
    """
    if any(getattr(module, "without_gradient", False) for module in classifier.modules()):
        return torch.ones(len(batch.image), device=batch.image.device)
    with differentiable(classifier):
        image, label, *_ = batch.detached()
        _, gradient = logits_and_gradient(image, label.to(image.device), classifier, task_loss)
    dead = (gradient == 0) | ~gradient.isfinite()
    return dead.flatten(1).float().mean(1)
