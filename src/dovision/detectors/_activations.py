"""Activations of a classifier's layers, averaged over places."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.module_state import evaluating
from dovision.propagation.sites import site_module
from dovision.types import Shape

LEARNED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class LayerFeatures:
    """Outputs of layers, in one pass; a map's are averaged over the cells of a cells x cells grid.

    Args:
        names: layers of the network; None: all its convolutions and linear layers.
        cells: of the grid; 1 averages over the whole map.

    Raises:
        ValueError: at the first image, if there is no such layer, or it does not run exactly once.
    """

    def __init__(self, names: Sequence[str] | None, cells: int) -> None:
        self.names = None if names is None else tuple(names)
        self.cells = checks.positive_int("cells", cells)
        self.sizes: tuple[int, ...] = ()  # features of each layer, known after the first pass

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Read a blank image of this shape, (C, H, W); errors as those of the first image."""
        with evaluating(classifier):
            self(torch.zeros(1, *shape, device=classifier.mean.device), classifier)

    def __call__(self, image: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """All layers' features in a row, shape (B, F), and the logits, shape (B, K)."""
        runs: dict[str, list[Tensor]] = {name: [] for name in self._names(classifier)}
        layers = {name: _layer(classifier, name) for name in runs}
        with ExitStack() as hooks:
            for name, layer in layers.items():
                hooks.enter_context(layer.register_forward_hook(partial(self._keep, runs[name])))
            logits = classifier(image)
        for name, outputs in runs.items():
            if len(outputs) != 1:
                raise ValueError(f"layer {name!r} must run once in a forward pass, got {len(outputs)} runs.")
        features = [outputs[0] for outputs in runs.values()]
        self.sizes = tuple(each.shape[1] for each in features)
        return torch.cat(features, 1), logits

    def split(self, row: Tensor) -> tuple[Tensor, ...]:
        """The features of each layer, from all of them in a row, shape (B, F).

        Raises:
            ValueError: no image was read, so that the layers' sizes are not known.
        """
        if not self.sizes:
            raise ValueError("layers must be read of an image before their features can be separated.")
        return torch.split(row, list(self.sizes), dim=1)

    def _names(self, classifier: Classifier) -> tuple[str, ...]:
        if self.names is not None:
            return self.names
        names = [name for name, layer in classifier.network.named_modules() if name and isinstance(layer, LEARNED)]
        if not names:
            raise ValueError("the network must have convolutions or linear layers, got none. Name its layers.")
        return tuple(names)

    def _keep(self, outputs: list[Tensor], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """From a copy, since the next layer may write into the output."""
        own = output.clone()
        outputs.append((F.adaptive_avg_pool2d(own, self.cells) if own.ndim == 4 else own).flatten(1))


def _layer(classifier: Classifier, name: str) -> nn.Module:
    layer = site_module(classifier, name)
    if layer is None:
        raise ValueError(f"layers must be layers of the network, got {name!r}.")
    return layer
