"""Sites: the module behind a name, and the check that axis 1 of its value holds channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier, Intervention
from dovision.module_state import evaluating
from dovision.propagation.plain import Plain
from dovision.types import CODE, INPUT, Shape

MAP_LAYERS = (  # their output is a map (B, C, H, W) by definition
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
)
HEIGHT, WIDTH = 2, 3  # axes of an image, and of such a map


class _Reached(Exception):
    """Ends a pass at the site."""


class Growth(NamedTuple):
    """Axes of a layer's value that grow with the height and with the width of what it is computed from."""

    height: frozenset[int]
    width: frozenset[int]


def site_module(classifier: Classifier, site: str) -> nn.Module | None:
    """The submodule whose output is edited; None for the input.

    Raises:
        ValueError: there is none of this name; the error lists the nearest names.
    """
    if site == INPUT:
        return None
    modules = {name: module for name, module in classifier.network.named_modules() if name}
    name = classifier.sites.get(site, site)
    if name in modules:
        return modules[name]
    if site == CODE:
        raise ValueError(
            "the site 'code' needs an autoencoder inserted into the classifier; choose one (autoencoder=...)."
        )
    legal = [INPUT, *classifier.sites, *modules]
    near = checks.suggestion(site, legal) or f" Its sites are: {checks.listed(legal)}."
    raise ValueError(f"the classifier has no site {site!r}.{near}")


def check_layout(classifier: Classifier, intervention: Intervention, shape: Shape) -> None:
    """Refuse an intervention whose site is missing or, if it edits channels, does not hold them on axis 1.

    The shape is (C, H, W), of the images. On the meta device nothing is computed.

    Raises:
        ValueError: there is no such site; or see `require_channels`.
    """
    site = site_module(classifier, intervention.site)
    if site is not None and intervention.unit == "channel":
        require_channels(classifier, site, f"site {intervention.site!r}", shape)


@torch.no_grad()
def require_channels(classifier: Classifier, site: nn.Module, name: str, shape: Shape) -> int:
    """The number of channels that axis 1 of a layer's value is shown to hold.

    The evidence is how the value's shape follows a blank image that is made twice as high, and twice as wide: axes that
    grow hold positions. A network that takes images of one size only, or resizes them, is enlarged inside: behind the
    first of its convolutions and poolings, or the last one before the layer.

    Args:
        classifier: on any device; on the meta device nothing is computed.
        site, name: a submodule of the classifier, and what an error calls it.
        shape: (C, H, W) of the images.

    Raises:
        ValueError: axis 1 holds rows (channels last), tokens, heads, or channels and positions in one; or nothing
            shows what it holds; or the layer does not run exactly once, or puts out something else than one tensor.
    """
    image = torch.zeros(1, *shape, device=classifier.mean.device, dtype=classifier.mean.dtype)
    with evaluating(classifier):
        value = tuple(Plain(classifier, site).clean(image).site.shape)
        reason = _not_channels(value, _growths(classifier, site, image, value))
    if reason:
        raise ValueError(
            "an intervention on channels needs them on axis 1 of the layer's value, as in (B, C, H, W) or (B, C), but "
            f"{name} is of shape {value}, {reason}. Choose another layer."
        )
    return value[1]


def _not_channels(value: Shape, growths: Iterator[Growth]) -> str:
    """Reason that axis 1 of a value of this shape is not known to hold channels; empty if it is."""
    followed = False
    for height, width in growths:
        followed, both = True, height & width
        if not {0, 1}.isdisjoint(height | width):
            content = {2: "channels and positions in one", 3: "tokens"}.get(len(value), "rows or windows of the image")
            return f"and its axis {min(height | width)} grows with the image: it holds {content}"
        if both and len(value) > 3:
            return (
                f"and its axis {min(both)} grows with both sides of the image: it holds tokens, for each head on axis 1"
            )
        if height or width:
            return ""
    pooled = followed and set(value[2:]) == {1}
    if pooled or len(value) == 2:
        return ""
    return "and nothing shows what its axis 1 holds: " + (
        "its shape does not follow that of the image" if followed else "the network takes images of one size only"
    )


def _growths(classifier: Classifier, site: nn.Module, image: Tensor, value: Shape) -> Iterator[Growth]:
    """Growth of the site's value with the image, then with a map inside the network; as far as it can be seen."""
    yield from _growth(classifier, site, image, value, None)
    layers = [module for module in classifier.network.modules() if isinstance(module, MAP_LAYERS)]
    made = _shapes_until(classifier, site, layers, image)
    maps = [layer for layer, shape in made if len(shape) == 4 and shape[HEIGHT] * shape[WIDTH] > 1]
    for layer in dict.fromkeys(maps[:1] + maps[-1:]):
        yield from _growth(classifier, site, image, value, layer)


def _growth(
    classifier: Classifier, site: nn.Module, image: Tensor, value: Shape, layer: nn.Module | None
) -> Iterator[Growth]:
    """Growth of the site's value with the image or the output of a layer; nothing if the network does not allow it."""
    grown = []
    for axis in (HEIGHT, WIDTH):
        with ExitStack() as hooks:
            if layer is not None:
                hooks.enter_context(layer.register_forward_hook(lambda m, i, output, axis=axis: _doubled(output, axis)))
            shapes = _shapes_until(classifier, site, [site], _doubled(image, axis) if layer is None else image)
        if not shapes or len(shapes[0][1]) != len(value):
            return
        grown.append(frozenset(axis for axis, size in enumerate(shapes[0][1]) if size != value[axis]))
    yield Growth(*grown)


def _shapes_until(
    classifier: Classifier, site: nn.Module, layers: Sequence[nn.Module], image: Tensor
) -> list[tuple[nn.Module, Shape]]:
    """Shapes of layers' outputs as they come, until the site has run or the network fails."""
    seen: list[tuple[nn.Module, Shape]] = []

    def stop(*_: object) -> None:
        raise _Reached

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(lambda m, i, output: seen.append((m, tuple(output.shape)))))
        hooks.enter_context(site.register_forward_hook(stop))
        with suppress(Exception):  # whatever the network raises at an image of another size
            classifier(image)
    return seen


def _doubled(value: Tensor, axis: int) -> Tensor:
    return torch.cat([value, value], axis)
