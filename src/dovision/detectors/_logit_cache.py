"""Cache of values that several detectors compute of the same images, for as long as the images exist."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor
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
