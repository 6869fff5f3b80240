"""Grad-CAM++, with the weights of the grad-cam package."""

from __future__ import annotations

import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from torch import Tensor

from dovision.explainers import _layers
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape


class GradCAMPlusPlus(Explainer):
    """Grad-CAM with a weighted mean of the positive gradients, so that each of several objects counts.

    The package's own forward pass is not used: it shares the layer's output with an in-place ReLU behind it, empties
    the parameters' gradients, and stretches each map to [0, 1].

    Args:
        layer: whose channels; None is the last spatial layer of a known network.

    Raises:
        ImportError: the grad-cam package is not installed.

    Source: Chattopadhyay et al., Grad-CAM++, arXiv:1710.11063.
    """

    def __init__(self, layer: str | None = None) -> None:
        try:
            from pytorch_grad_cam import GradCAMPlusPlus as Package
        except ImportError as error:
            raise ImportError(
                f"this explainer needs grad-cam ({error}). Install it: pip install 'dovision[cam]'."
            ) from error
        self.package = Package
        self.layer = layer

    def check(self, classifier: Classifier, shape: Shape) -> None:
        _layers.check_layer(classifier, self.layer, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        image = batch.image.detach()
        layer = _layers.chosen(classifier, self.layer, image)
        module = classifier.network.get_submodule(layer)
        activation = _layers.as_map(LayerActivation(classifier, module).attribute(image), layer, classifier, image)
        gradients = LayerGradientXActivation(classifier, module, multiply_by_inputs=False)
        gradient = gradients.attribute(image, target.tolist())
        with self.package(classifier, [module]) as cam:
            arrays = (value.detach().cpu().numpy() for value in (activation, gradient))
            weighted = cam.get_cam_image(image, module, target, *arrays)
        return torch.from_numpy(weighted).to(image).relu()
