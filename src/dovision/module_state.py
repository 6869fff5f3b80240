"""Modes and gradients of a network, put back after a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

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
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for parameter, required in frozen.items():
                parameter.requires_grad_(required)


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
        if not any(modes.values()):
            yield
            return
        try:
            for child in modes:
                child.training = False  # and no call of train, which torch's exported modules refuse
            yield
        finally:
            for child, training in modes.items():
                child.training = training
