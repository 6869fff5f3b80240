"""The layer whose maps a class-activation map weighs: a default for known networks, and a check of any other."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import MutableMapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.module_state import differentiable, evaluating
from dovision.propagation.layouts import find_layout
from dovision.propagation.sites import find_site
from dovision.propagation.tokens import token_grid
from dovision.propagation.whole_passes import WholePasses
from dovision.types import Layout, Shape

log = logging.getLogger(__name__)
# The last spatial layer by the class of the network, in torchvision and here: the first name that the network has.
LAYERS = {
    "ConvNeXt": ("features",),
    "DenseNet": ("features",),  # normalised, before the last ReLU, which is no layer
    "EfficientNet": ("features", "bn2"),  # torchvision's, timm's
    "GoogLeNet": ("inception5b",),
    "Inception3": ("Mixed_7c",),
    "MNASNet": ("layers",),
    "MobileNetV2": ("features",),
    "MobileNetV3": ("features",),
    "RegNet": ("trunk_output",),
    "ResNet": ("layer4",),
    "ShuffleNetV2": ("conv5",),
    "SmallCNN": ("relu2",),
    "SmallResNet": ("stage3",),
    "SqueezeNet": ("features",),
    "SwinTransformer": ("features", "layers"),  # torchvision's, timm's
}
BEFORE_LAST_ATTENTION = ("norm1", "ln_1")  # of a VisionTransformer, timm's or torchvision's: patches are read there
END_IN_A_POOL = ("AlexNet", "VGG")  # their features; the layer before it is the last rectified convolution
LISTED = 8  # candidates in an error
PROBED = 24  # last layers among which a default is looked for; the layout of tokens takes a few passes to find
_DEFAULTS: MutableMapping[nn.Module, str] = WeakKeyDictionary()  # layers by network
_LAYOUTS: MutableMapping[nn.Module, Layout] = WeakKeyDictionary()  # of layers that put out no plain map


def chosen(classifier: Classifier, layer: str | nn.Module | None, image: Tensor) -> str:
    """Name of the requested layer in the network: a layer, its module, a site, or None for the default.

    With `image`, shape (B, C, H, W), an error finds layers that could be meant.
    """
    if layer is None:
        return default_layer(classifier, image)
    names = [name for name, _ in classifier.network.named_modules() if name]
    if isinstance(layer, nn.Module):
        of_module = [name for name in names if classifier.network.get_submodule(name) is layer]
        layer = next(iter(of_module), f"a {type(layer).__name__} of another network")
    name = classifier.sites.get(layer, layer)
    if name not in names:
        near = checks.suggestion(layer, [*classifier.sites, *names])
        raise ValueError(f"layer must be one of the network's, got {layer!r}.{near or _advice(classifier, image)}")
    return name


@torch.no_grad()
def check_layer(classifier: Classifier, layer: str | nn.Module | None, shape: Shape) -> None:
    """Raise if the layer gives no map for images of this shape, (C, H, W); the error lists candidates."""
    image = classifier.mean.new_zeros(1, *shape)
    with evaluating(classifier):
        name = chosen(classifier, layer, image)
        value = WholePasses(classifier, find_site(classifier, name)).clean(image).site
        as_map(value, name, classifier, image)


def default_layer(classifier: Classifier, image: Tensor) -> str:
    """Last spatial layer: of a known network, also inside a wrapper, by a table; of another one by its structure."""
    if (name := _DEFAULTS.get(classifier.network)) is not None:
        return name
    usual = ((prefix, _usual_layer(module)) for prefix, module in classifier.network.named_modules())
    name = next((f"{prefix}.{layer}".lstrip(".") for prefix, layer in usual if layer), None)
    if name is None and (name := _last_map(classifier, image)) is None:
        network = type(classifier.network).__name__
        raise ValueError(f"the default layer of a {network} is not known.{_advice(classifier, image)}")
    if not image.is_meta:
        _DEFAULTS[classifier.network] = name
        log.info("class-activation maps: layer %s, the last with a map on which the class depends", name)
    return name


def as_map(value: Any, layer: str, classifier: Classifier, image: Tensor) -> Tensor:
    """A layer's output as a map, shape (B, C, h, w); raises after global pooling.

    Channels last are moved, and a transformer's patches are put where they lie in the image.
    """
    if (moved := _map_or_none(value, layer, classifier, image)) is not None:
        return moved
    got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise ValueError(
        f"layer {layer!r} must give a map of the image, shape (B, C, h, w), got {got}.{_advice(classifier, image)}"
    )


def is_map(value: Any, image: Tensor) -> bool:
    """Return whether a value has the shape and rough aspect of a map; false for channels last."""
    if not isinstance(value, Tensor) or value.ndim != 4 or min(value.shape[2:]) < 2:
        return False
    (height, width), (rows, columns) = image.shape[2:], value.shape[2:]
    return max(rows * width, columns * height) <= 1.6 * min(rows * width, columns * height)


def _moved(value: Any, layer: str, classifier: Classifier, shape: Shape) -> Any:
    """Move channels-last values or tokens to (B, C, h, w); None for other values."""
    site = find_site(classifier, layer)
    if site is None or not isinstance(value, Tensor) or value.ndim not in (3, 4):
        return None
    if value.ndim == 4 and min(value.shape[1:3]) < 2:  # what comes out of a pool, of which no layout is looked for
        return None
    if site.module not in _LAYOUTS:
        with suppress(ValueError):  # nothing shows what its axes hold
            _LAYOUTS[site.module] = find_layout(classifier, site, shape, f"layer {layer!r}")
    layout = _LAYOUTS.get(site.module)
    if layout is None or layout not in (Layout.NHWC, Layout.NTC, Layout.NCT):
        return None
    shown = layout.present(value)
    return shown if layout is Layout.NHWC else token_grid(shown.shape[2], classifier, shape).maps(shown.squeeze(-1))


@torch.no_grad()
def candidates(classifier: Classifier, image: Tensor) -> list[str]:
    """Layers whose output is a map of the image, in order of completion."""
    names: dict[str, None] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if is_map(output, image):
            names[name] = None

    with ExitStack() as hooks:
        for name, module in classifier.network.named_modules():
            hooks.enter_context(module.register_forward_hook(partial(note, name)))
        classifier(image[:1])
    return [name for name in names if name]


def _last_map(classifier: Classifier, image: Tensor) -> str | None:
    """Name of the last layer whose output is a map of the image at most positions of which the logits depend.

    Behind the last attention of a network that reads its class token alone they depend on no patch. Linear layers are
    left out: within an attention or a perceptron they are no block of the network. On the meta device, where gradients
    have no numbers, it is the last map.
    """
    values: dict[str, list[Tensor]] = defaultdict(list)

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4) and len(output) == 1:
            values[name].append(output)

    with differentiable(classifier):
        with ExitStack() as hooks:  # gone before `_moved`, which runs the network
            for name, module in classifier.network.named_modules():
                if name and not isinstance(module, nn.Linear):
                    hooks.enter_context(module.register_forward_hook(partial(note, name)))
            score = classifier(image[:1].detach().requires_grad_()).amax()
        once = {name: of_name[0] for name, of_name in values.items() if len(of_name) == 1 and of_name[0].requires_grad}
        for name, value in list(reversed(once.items()))[:PROBED]:
            if _map_or_none(value, name, classifier, image) is None:
                continue
            (gradient,) = torch.autograd.grad(score, value, retain_graph=True, materialize_grads=True)
            reached = _map_or_none(gradient, name, classifier, image).abs().amax((0, 1)) > 0
            if image.is_meta or reached.float().mean() > 0.5:
                return name
    return None


def _map_or_none(value: Any, layer: str, classifier: Classifier, image: Tensor) -> Any:
    """The value as of `as_map`; None if it is no map, as of tokens that are no grid."""
    if is_map(value, image):
        return value
    with suppress(ValueError):
        moved = _moved(value, layer, classifier, tuple(image.shape[1:]))
        return moved.contiguous() if is_map(moved, image) else None
    return None


def _usual_layer(module: nn.Module) -> str | None:
    has = dict(module.named_modules())
    for base in type(module).__mro__:
        for name in LAYERS.get(base.__name__, ()):
            if name in has:
                return name
        if base.__name__ == "VisionTransformer":
            return [name for name in has if name.rpartition(".")[2] in BEFORE_LAST_ATTENTION][-1]
        if base.__name__ in END_IN_A_POOL:
            return f"features.{len(module.features) - 2}"  # type: ignore[arg-type]
    stages = getattr(module, "feature_info", None)  # timm's own table of its networks
    last = stages[-1]["module"] if isinstance(stages, list) and stages else ""
    return last if last and last in has else None


def _advice(classifier: Classifier, image: Tensor) -> str:
    names = candidates(classifier, image)[-LISTED:]
    if not names:
        return " No layer of it gives a map of the image."
    return f" Choose a layer that does (layer=...); the last ones are {', '.join(names)}."
