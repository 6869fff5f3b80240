"""Modes and gradients of a network, put back after a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from dovision.functional.image_convolution import convolve, is_faster

# Modes, hooks and requires_grad belong to a network, not to a thread, and classifiers can share one.
_ONE_THREAD = threading.RLock()


@contextmanager
def differentiable(classifier: nn.Module) -> Iterator[None]:
    """Eval mode, frozen parameters and gradients enabled, for a block in one thread at a time.

    After it all is as it was.
    """
    with evaluating(classifier):
        frozen = {parameter: parameter.requires_grad for parameter in classifier.parameters()}
        try:
            classifier.requires_grad_(False)
            with torch.inference_mode(False), torch.enable_grad(), _quick_image_gradients(classifier):
                yield
        finally:
            for parameter, required in frozen.items():
                parameter.requires_grad_(required)


@contextmanager
def _quick_image_gradients(classifier: nn.Module) -> Iterator[None]:
    """Run the convolutions of few channels, such as those of an image, with the gradient of `convolve`."""
    quick = [module for module in classifier.modules() if is_faster(module) and "forward" not in vars(module)]
    try:
        for convolution in quick:
            vars(convolution)["forward"] = QuickGradient(_convolved, convolution)
        yield
    finally:
        for convolution in quick:
            del vars(convolution)["forward"]


class QuickGradient(partial[Tensor]):
    """A forward pass of a module with another gradient; its result is the module's own."""


def _convolved(convolution: nn.Conv2d, image: Tensor) -> Tensor:
    if image.dim() != 4:  # one image alone, as torch takes it, too
        return nn.Conv2d.forward(convolution, image)
    padding = [int(pixels) for pixels in convolution.padding]
    return convolve(image, convolution.weight, convolution.bias, padding)


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Leave inference mode for a block, in which gradients are enabled only if they are outside."""
    enabled = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(enabled):
        yield


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a block in one thread at a time; after it each submodule has the mode that it had."""
    with _ONE_THREAD:
        modes = {child: child.training for child in module.modules()}
        try:
            module.eval()
            yield
        finally:
            for child, training in modes.items():
                child.training = training
