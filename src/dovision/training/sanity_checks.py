"""Classifiers without their training, for sanity checks: what a map should not survive."""

from __future__ import annotations

import copy
import math

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from dovision.interfaces import Classifier

DEPTHS = 3


def cascade(classifier: Classifier, seed: int) -> dict[str, Classifier]:
    """Copies with layers randomised from the output down: a third, two thirds, all.

    Source: Adebayo et al., Sanity checks for saliency maps, arXiv:1810.03292.
    """
    return {f"randomised {depth} of {DEPTHS}": _randomised(classifier, depth, seed) for depth in range(1, DEPTHS + 1)}


def _randomised(classifier: Classifier, depth: int, seed: int) -> Classifier:
    forgetful = copy.deepcopy(classifier).cpu()  # of which the draws are those on any device
    layers = [module for module in forgetful.network.modules() if list(module.parameters(recurse=False))]
    with isolate_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for layer in layers[::-1][: math.ceil(len(layers) * depth / DEPTHS)]:
            _randomise(layer)
    return forgetful.to(classifier.mean.device).eval()


def _randomise(layer: nn.Module) -> None:
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in layer.parameters(recurse=False):
        parameter.copy_(torch.randn_like(parameter) * parameter.std(correction=0) + parameter.mean())
