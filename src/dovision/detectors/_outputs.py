"""Outputs of networks: logits, computed once while the images exist, and the input of the last layer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import ExitStack
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from dovision.interfaces import Classifier
from dovision.propagation.weights_stamp import weights_stamp

_T = TypeVar("_T")
_RESULTS = WeakTensorKeyDictionary()  # by images, then by what was asked


def cached(image: Tensor, key: Hashable, compute: Callable[[], _T]) -> _T:
    """Return the result of `compute`, cached by this key and by the identity of the images."""
    if image not in _RESULTS:
        _RESULTS[image] = {}
    results: dict[Hashable, Any] = _RESULTS[image]
    key = (image._version, key)
    if key not in results:
        results[key] = compute()
    answer: _T = results[key]
    return answer


def logits_of(image: Tensor, classifier: Classifier) -> Tensor:
    """Logits, shape (B, K), of images, shape (B, C, H, W); recomputed where gradients are needed."""
    if torch.is_grad_enabled():
        return classifier(image)
    return cached(image, ("logits", weights_stamp(classifier)), lambda: classifier(image))


def penultimate(image: Tensor, classifier: Classifier) -> tuple[nn.Linear, Tensor, Tensor]:
    """Final linear layer, its input, shape (B, F), and the logits, shape (B, K).

    Args:
        image: shape (B, C, H, W).
        classifier: of the logits.

    Raises:
        ValueError: there is no such layer.
    """
    runs: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def keep(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs.append((layer, inputs[0], output))

    with ExitStack() as hooks:
        for layer in classifier.network.modules():
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_hook(keep))
        logits = classifier(image)
    of_second = (
        len(runs) > 0 and runs[-1][2].shape == (len(logits), 1) and len(logits.T) == 2 and not logits[:, 0].any()
    )
    if not runs or runs[-1][1].ndim != 2 or not (of_second or runs[-1][2].shape == logits.shape):
        raise ValueError(
            "the network must end in a linear layer that gives the logits, of which the input can be read, got one "
            "without. Choose a detector that reads logits alone, such as max_softmax."
        )
    layer, features, _ = runs[-1]
    if of_second:  # of two classes, as a layer of both
        weight, bias = layer.weight, layer.weight.new_zeros(1) if layer.bias is None else layer.bias
        layer = nn.Linear(layer.in_features, 2).requires_grad_(False)
        layer.load_state_dict({"weight": torch.cat([0 * weight, weight]), "bias": torch.cat([0 * bias, bias])})
    return layer, features, logits
