"""Gradient-weighted class-activation maps."""

from __future__ import annotations

from captum.attr import LayerGradCam
from torch import Tensor

from dovision.explainers import _layers
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape


class GradCAM(Explainer):
    """A layer's channels, weighted by the mean gradient of the class's logit, summed; what speaks against it is cut.

    Args:
        layer: whose channels; None is the last spatial layer of a known network.

    Source: Selvaraju et al., Grad-CAM, arXiv:1610.02391.
    """

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def check(self, classifier: Classifier, shape: Shape) -> None:
        _layers.check_layer(classifier, self.layer, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        image = batch.image.detach()  # no gradient is needed below the layer
        layer = _layers.chosen(classifier, self.layer, image)
        cam = LayerGradCam(classifier, classifier.network.get_submodule(layer))
        weighted = cam.attribute(image, target.tolist(), attr_dim_summation=False)
        return _layers.as_map(weighted, layer, classifier, image).sum(1).relu()
