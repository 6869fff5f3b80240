"""Class-activation maps: the channels of a layer, weighted and summed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stderr
from importlib import import_module
from io import StringIO
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.explainers import _layers
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape

# Of the grad-cam package: all layers at once, weights drawn without a seed, and second derivatives.
_OTHER_CAMS = ("FullGrad", "RandomCAM", "ShapleyCAM")
_OF_THE_PASS = ("self", "model", "target_layers", "reshape_transform")  # arguments that are found here
_SMOOTHING = ("aug_smooth", "eigen_smooth")


class GradCAM(Explainer):
    """Channels of a layer weighted by the class logit's mean gradient, summed and clipped at zero.

    Args:
        layer: name or module of the layer; None is the last spatial layer of a known network.

    Source: Selvaraju et al., Grad-CAM, arXiv:1610.02391.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.GradCAM(layer="relu")(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(self, layer: str | nn.Module | None = None) -> None:
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


class CAM(GradCAM):
    """Map of a method of the grad-cam package, before it is stretched to [0, 1].

    The package's own forward pass is not used: it shares the layer's output with an in-place ReLU behind it, and
    empties the parameters' gradients.

    Args:
        method: the name of a class of `pytorch_grad_cam` that weighs the channels of one layer, such as "LayerCAM"; the
            class; or an object of it, whose layer and settings count. Its network may be a `Classifier` or what is
            inside one.
        layer: name or module of the layer; None is the last spatial layer of a known network.
        arguments: of the class, by name, such as {"batch_size": 8} of AblationCAM; and aug_smooth and eigen_smooth, as
            of a call in the package: with aug_smooth a map is the mean of those of six changed images, each in [0, 1].

    Raises:
        ImportError: the grad-cam package is not installed.
        ValueError: it has no such method, or one that draws at random or reads more than a layer.

    Source: Gildenblat et al., github.com/jacobgil/pytorch-grad-cam.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.CAM("LayerCAM", layer="relu")(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self,
        method: Any,
        layer: str | nn.Module | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        package = checks.import_extra("pytorch_grad_cam", "cam")
        base: Any = import_module("pytorch_grad_cam.base_cam").BaseCAM
        members: list[tuple[str, Any]] = inspect.getmembers(package, inspect.isclass)
        usable = {
            name: member
            for name, member in members
            if issubclass(member, base) and member.forward is base.forward and name not in _OTHER_CAMS
        }
        self.made = isinstance(method, base)  # with its settings
        used: Any = type(method) if self.made else method
        self.name = checks.choice("method", getattr(used, "__name__", used), usable)
        self.method: Any = method if self.made else usable[self.name]
        layers = self.method.target_layers if self.made else [layer]
        if len(layers) != 1:
            raise ValueError(f"method must have one target layer, got {len(layers)}. Make one for each.")
        super().__init__(layers[0])
        taken = inspect.signature(usable[self.name].__init__).parameters
        legal = [key for key in taken if key not in _OF_THE_PASS]
        self.arguments = dict(arguments or {})
        for key in self.arguments:
            if key not in (*legal, *_SMOOTHING):
                raise ValueError(checks.unknown_key(f"arguments of {self.name}", key, [*legal, *_SMOOTHING]))
        switches = {
            key: checks.instance(key, self.arguments.pop(key, False), bool, "true or false") for key in _SMOOTHING
        }
        self.aug_smooth, self.eigen_smooth = switches.values()

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        if not self.aug_smooth:
            return self._map(batch, target, classifier)
        library = import_module("ttach")
        usual = library.Compose([library.HorizontalFlip(), library.Multiply(factors=[0.9, 1, 1.1])])
        image, maps = (batch.image.detach() - classifier.mean) / classifier.std, []
        for transform in self.method.tta_transforms if self.made else usual:
            changed = transform.augment_image(image) * classifier.std + classifier.mean
            cam = self._map(batch._replace(image=changed), target, classifier).unsqueeze(1)
            cam = F.interpolate(cam, image.shape[2:], mode="bilinear", align_corners=False)  # before it is stretched
            cam = cam - cam.amin((2, 3), keepdim=True)
            maps.append(transform.deaugment_mask(cam / (1e-7 + cam.amax((2, 3), keepdim=True)))[:, 0])
        return torch.stack(maps).mean(0)

    def _map(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        image, _, module = self._chosen(batch, classifier)
        arrays = [value.detach().cpu().numpy() for value in self._maps(batch, target, classifier)]
        classes = list(map(ClassifierOutputTarget, target.tolist()))
        if self.made:
            method, hooks = nullcontext(self.method), self.method.activations_and_grads
            hooks.activations, hooks.gradients = _EmptyList(), _EmptyList()
            if not isinstance(self.method.model, Classifier):
                image = (image - classifier.mean) / classifier.std
        else:
            method = self.method(classifier, [module], **self.arguments)
        with method as cam, redirect_stderr(StringIO()):  # a bar an image
            return (
                torch.from_numpy(cam.get_cam_image(image, module, classes, *arrays, self.eigen_smooth)).to(image).relu()
            )


class _EmptyList(list[Tensor]):
    """List that keeps nothing of what a grad-cam object's hooks add to it in every pass; the object's calls end it."""

    def append(self, value: Tensor) -> None:
        pass

    def __radd__(self, other: list[Tensor]) -> list[Tensor]:
        return self
