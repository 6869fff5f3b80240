"""Class-activation maps: the channels of a layer, weighted and summed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from captum.attr import LayerActivation
from torch import Tensor, nn

from dovision import checks
from dovision.explainers import _layers
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape


class GradCAM(Explainer):
    """Channels of a layer weighted by the class logit's mean gradient, summed and clipped at zero.

    Args:
        layer: whose channels; None is the last spatial layer of a known network.

    Source: Selvaraju et al., Grad-CAM, arXiv:1610.02391.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.GradCAM(layer="relu")(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def check(self, classifier: Classifier, shape: Shape) -> None:
        _layers.check_layer(classifier, self.layer, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        activation, gradient = self._maps(batch, target, classifier)
        return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).relu()

    def _maps(self, batch: Batch, target: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """A layer's map and the class logit's gradient there, both of shape (B, C, h, w), in one pass."""
        image, name, module = self._chosen(batch, classifier)
        value: Tensor | None = None

        def leaf(module: nn.Module, args: tuple[Tensor, ...], output: Any) -> Any:
            nonlocal value
            value = output.detach().clone().requires_grad_() if isinstance(output, Tensor) else None
            return output if value is None else value.clone()  # the next layer may write into it

        with module.register_forward_hook(leaf):
            logits = classifier(image)
        activation = _layers.as_map(value if value is None else value.detach(), name, classifier, image)
        assert value is not None
        score = logits.take_along_dim(target.unsqueeze(1), 1).sum()
        (gradient,) = torch.autograd.grad(score, value, allow_unused=True, materialize_grads=True)
        gradient = _layers.as_map(gradient, name, classifier, image)
        if not _layers.is_map(value, image) and not gradient.any():
            raise ValueError(
                f"the class must depend on the patches of layer {name!r}, but it does not: behind it, the network may "
                "read its class token alone. Choose a layer before the last attention, such as its norm (layer=...)."
            )
        return activation, gradient

    def _chosen(self, batch: Batch, classifier: Classifier) -> tuple[Tensor, str, nn.Module]:
        """The images, and name and module of the layer."""
        image = batch.image.detach()  # no gradient is needed below the layer
        name = _layers.chosen(classifier, self.layer, image)
        return image, name, classifier.network.get_submodule(name)


class GradCAMPlusPlus(GradCAM):
    """Grad-CAM with a weighted mean of positive gradients, so that several objects count.

    The weights are those of the grad-cam package, whose own forward pass is not used: it shares the layer's output with
    an in-place ReLU behind it, empties the parameters' gradients, and stretches each map to [0, 1].

    Args:
        layer: whose channels; None is the last spatial layer of a known network.

    Raises:
        ImportError: the grad-cam package is not installed.

    Source: Chattopadhyay et al., Grad-CAM++, arXiv:1710.11063.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.GradCAMPlusPlus(layer="relu")(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(self, layer: str | None = None) -> None:
        super().__init__(layer)
        self.package = checks.import_extra("pytorch_grad_cam", "cam").GradCAMPlusPlus

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        image, _, module = self._chosen(batch, classifier)
        activation, gradient = self._maps(batch, target, classifier)
        with self.package(classifier, [module]) as cam:
            arrays = (value.detach().cpu().numpy() for value in (activation, gradient))
            weighted = cam.get_cam_image(image, module, target, *arrays)
        return torch.from_numpy(weighted).to(image).relu()


class ScoreCAM(GradCAM):
    """Channels of a layer weighted by the class logit of the image masked by the channel.

    The weights are the softmax of these logits; what a channel does not show fades to black. It costs a forward pass
    for each channel of each image, 512 for a ResNet-18, and never holds more than `batch_size` masked images.

    Args:
        layer: whose channels; None is the last spatial layer of a known network.
        batch_size: masked images a pass; the map depends on it in its last bits.

    Source: Wang et al., Score-CAM, arXiv:1910.01279.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.ScoreCAM(layer="relu")(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(self, layer: str | None = None, batch_size: int = 16) -> None:
        super().__init__(layer)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    @torch.no_grad()
    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        image, name, module = self._chosen(batch, classifier)
        activation = _layers.as_map(LayerActivation(classifier, module).attribute(image), name, classifier, image)
        maps = []
        for one, channels, wanted in zip(image, activation, target.tolist(), strict=True):
            masked = (one * _mask(chunk, one) for chunk in channels.split(self.batch_size))
            score = torch.cat([classifier(images)[:, wanted] for images in masked])
            maps.append(torch.einsum("c,chw->hw", score.softmax(0), channels).relu())
        return torch.stack(maps)


def _mask(channels: Tensor, image: Tensor) -> Tensor:
    """Upsample channels, (N, h, w), to an image's size and rescale them to [0, 1]; shape (N, 1, H, W)."""
    large = F.interpolate(channels.unsqueeze(1), size=image.shape[1:], mode="bilinear", align_corners=True)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-8)
