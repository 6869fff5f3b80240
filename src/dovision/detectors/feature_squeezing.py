"""Change of probabilities when the image loses detail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.detectors._logit_cache import logits_of
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch


class FeatureSqueezing(Detector):
    """The largest L1 distance between P(y | x) and P(y | squeezed x), over the squeezers; nothing to fit.

    Args:
        bits: bits a channel that the image is rounded to, one or several.
        windows: sides of median filters, in pixels, one or several.

    The gradient passes through the rounding as if it were not there, since its own is zero: an adaptive attacker can
    follow it, but it is not the score's derivative.

    Source: Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155; the gradient: Athalye et al., arXiv:1802.00420.
    """

    def __init__(self, bits: Sequence[int], windows: Sequence[int]) -> None:
        self.bits = tuple(checks.positive_int("bits", each) for each in bits)
        self.windows = tuple(checks.positive_int("windows", each) for each in windows)
        if not self.bits and not self.windows:
            raise ValueError("feature squeezing needs a squeezer, got none. Give bits or windows.")
        self.passes = 1 + len(self.bits) + len(self.windows)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        image = batch.image
        squeezed = [reduce_depth(image, bits) for bits in self.bits]
        squeezed += [median_filter(image, window) for window in self.windows]
        probability = classifier.task.probability(logits_of(image, classifier))
        moved = (classifier.task.probability(classifier(each)) for each in squeezed)
        return torch.stack([(each - probability).abs().sum(1) for each in moved], 1)

    def score_features(self, features: Tensor) -> Tensor:
        return features.amax(1)


def reduce_depth(image: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits equally spaced values in [0, 1], shape (B, C, H, W); to the gradient, the image itself."""
    levels = 2**bits - 1
    return image + ((image * levels).round() / levels - image).detach()


def median_filter(image: Tensor, window: int) -> Tensor:
    """The median of a window around each pixel, shape (B, C, H, W), mirrored beyond the border; of two the upper one.

    A window of even side reaches further up and to the left than down and to the right.
    """
    rows, columns = (_mirrored(length, window, image.device) for length in image.shape[2:])
    windows = image[:, :, rows][..., columns].unfold(2, window, 1).unfold(3, window, 1)
    return windows.flatten(-2).sort(-1).values[..., window * window // 2]


def _mirrored(length: int, window: int, device: torch.device) -> Tensor:
    """Numbers of a line's pixels, with those that are seen in a mirror at each end."""
    before = window // 2
    return torch.from_numpy(np.pad(np.arange(length), (before, window - 1 - before), mode="symmetric")).to(device)
