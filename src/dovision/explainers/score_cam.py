"""Score-CAM: class-activation maps without gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from captum.attr import LayerActivation
from torch import Tensor

from dovision import checks
from dovision.explainers import _layers
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape


class ScoreCAM(Explainer):
    """A layer's channels, weighted by the logit of the class when only what the channel shows is left of the image.

    The weights are the softmax of these logits; what a channel does not show fades to black. It costs a forward pass
    for each channel of each image, 512 for a ResNet-18, and never holds more than `batch_size` masked images.

    Args:
        layer: whose channels; None is the last spatial layer of a known network.
        batch_size: masked images a pass; the map depends on it in its last bits.

    Source: Wang et al., Score-CAM, arXiv:1910.01279.
    """

    def __init__(self, layer: str | None = None, batch_size: int = 16) -> None:
        self.layer = layer
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        _layers.check_layer(classifier, self.layer, shape)

    @torch.no_grad()
    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        image = batch.image.detach()
        layer = _layers.chosen(classifier, self.layer, image)
        output = LayerActivation(classifier, classifier.network.get_submodule(layer)).attribute(image)
        activation = _layers.as_map(output, layer, classifier, image)
        maps = []
        for one, channels, wanted in zip(image, activation, target.tolist(), strict=True):
            masked = (one * _mask(part, one) for part in channels.split(self.batch_size))
            score = torch.cat([classifier(images)[:, wanted] for images in masked])
            maps.append(torch.einsum("c,chw->hw", score.softmax(0), channels).relu())
        return torch.stack(maps)


def _mask(channels: Tensor, image: Tensor) -> Tensor:
    """Channels, shape (N, h, w), at the size of an image, shape (C, H, W), stretched to [0, 1]; shape (N, 1, H, W)."""
    large = F.interpolate(channels.unsqueeze(1), size=image.shape[1:], mode="bilinear", align_corners=True)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-8)
