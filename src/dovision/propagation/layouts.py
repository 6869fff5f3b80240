"""Layout of a site's value, found by how its shape follows that of values before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dovision.interfaces import Classifier, Intervention
from dovision.module_state import evaluating
from dovision.propagation.sites import Site, find_site
from dovision.propagation.whole_passes import WholePasses
from dovision.types import Layout, Shape

MAP_LAYERS = (  # their output is a map (B, C, H, W) by definition
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
)
HEIGHT, WIDTH = 2, 3  # axes of an image, and of such a map
MOST_LAYERS = 24  # before the site, whose axes are doubled
Growth = tuple[frozenset[int], frozenset[int]]  # axes of a value that grow with the height of its input, the width


class Seen(NamedTuple):
    """The layout shown by evidence; None, and the reason, if none is shown."""

    layout: Layout | None
    reason: str


def presented_site(classifier: Classifier, intervention: Intervention, shape: Shape) -> Site | None:
    """The site of an intervention, presented in its layout if its unit needs one; None for the input.

    Args:
        classifier: on any device; on the meta device nothing is computed.
        intervention: its `layout` is taken where it is given and nothing shows another one.
        shape: (C, H, W) of the images.

    Raises:
        ValueError: there is no such site; its layout is not known, or not the one that was given; a value of this
            layout has no such units.
    """
    site = find_site(classifier, intervention.site)
    if intervention.unit is None:
        return site
    name = f"site {intervention.site!r}"
    if (layout := intervention.layout) is None:
        layout = find_layout(classifier, site, shape, name)
    else:
        value, seen = _evidence(classifier, site, shape)
        if len(layout.value) != len(value) or seen.layout not in (None, layout):
            shown = "" if seen.layout is None else f" and of layout {seen.layout.value}, as the network shows"
            raise ValueError(
                f"layout must be that of {name}, which is of shape {value}{shown}, got {layout.value}. Leave it out, "
                "or choose another layer."
            )
    if intervention.unit not in layout.units:
        raise ValueError(
            f"the units of site {intervention.site!r}, of layout {layout.value}, must be of a kind that it has "
            f"({', '.join(layout.units)}), got {intervention.unit}."
        )
    return site.presented(layout) if site is not None and site.layout is None else site


def find_layout(classifier: Classifier, site: Site | None, shape: Shape, name: str) -> Layout:
    """Determine the layout of a site's value.

    The evidence, until some is conclusive: how the value's shape follows a blank image that is made twice as high, and
    twice as wide; then a map inside the network, for one that takes images of one size only, or resizes them; then any
    axis of a value before the site, or of its own, at which the network goes through, such as that of tokens: axes
    that grow hold positions. At last the kind of the layer itself.

    Args:
        classifier: on any device; on the meta device nothing is computed.
        site: of the classifier; None: the input.
        shape: (C, H, W) of the images.
        name: what an error calls the site.

    Raises:
        ValueError: nothing shows a layout, or the value has none that is known, such as one with windows of the image
            on the batch axis; the module does not run exactly once, or puts out something else than one tensor.
    """
    value, seen = _evidence(classifier, site, shape)
    if seen.layout is None:
        raise ValueError(
            f"the layout of {name} must be known, one of {', '.join(choice.value for choice in Layout)}: it is of "
            f"shape {value}, {seen.reason}. Give it (layout=NTC, for tokens), or choose another layer."
        )
    return seen.layout


@torch.no_grad()
def _evidence(classifier: Classifier, site: Site | None, shape: Shape) -> tuple[Shape, Seen]:
    """Shape of a site's value, (1, ...), and its layout, or the reason why it is unknown."""
    if site is None:
        return (1, *shape), Seen(Layout.NCHW, "")
    with evaluating(classifier):
        image = classifier.mean.new_zeros(1, *shape)
        value = tuple(WholePasses(classifier, site).clean(image).site.shape)
        seen = Probes(classifier, shape).layout(site) if site.layout is None else Seen(site.layout, "")
    return value, seen


class _Run(NamedTuple):
    """Record of a pass on a blank image: layers in order of completion, output shapes, and whether it finished."""

    order: list[nn.Module]
    shapes: dict[nn.Module, list[Shape | None]]  # of each call; None: it put out something else than one tensor
    through: bool


class Probes:
    """Passes on a blank image with a value doubled along an axis, each run once for all sites of a network.

    They are made on the meta device if the network runs there.

    Args:
        classifier: in eval mode.
        shape: (C, H, W) of the images.
    """

    def __init__(self, classifier: Classifier, shape: Shape) -> None:
        self.classifier = classifier
        self.modules = dict(classifier.network.named_modules())
        image = classifier.mean.new_zeros(1, *shape)
        self._runs: dict[tuple[nn.Module | None, int], _Run] = {}
        tensors = [*classifier.named_parameters(), *classifier.named_buffers()]
        self.state = {name: tensor.to("meta") for name, tensor in tensors}
        self.image = image.to("meta")
        self.unchanged = self._run(None, 0)
        if not self.unchanged.through:
            self.state, self.image = {}, image
            self.unchanged = self._run(None, 0)

    def layout(self, site: Site) -> Seen:
        """The first layout that evidence shows for a module's output, or the reason why it is unknown."""
        call = site.call or 0
        shapes = self.unchanged.shapes.get(site.module, [])
        value = shapes[call] if call < len(shapes) else None
        if value is None:
            return Seen(None, "which is not one tensor")
        reasons = []
        followed = False
        for growth in self._growths(site.module, call, value):
            followed = True
            seen = layout_shown(value, growth)
            if seen.layout is not None:
                return seen
            if seen.reason:
                reasons.append(seen.reason)
        if reasons:
            return Seen(None, reasons[0])
        return self._of_sizes(site.module, value, followed)

    def _growths(self, module: nn.Module, call: int, value: Shape) -> Iterator[Growth]:
        """Growth of a value with the image, with maps inside the network, and with earlier values."""

        def growth(runs: Sequence[_Run]) -> Iterator[Growth]:
            """Axes by which the value differs between two runs; empty if the network did not reach the site."""
            grown = [run.shapes.get(module, [])[call : call + 1] for run in runs]
            axes = [
                frozenset(axis for axis, size in enumerate(shape) if size != value[axis])
                for (shape,) in filter(None, grown)
                if shape is not None and len(shape) == len(value)
            ]
            if len(axes) == 2:
                yield axes[0], axes[1]

        yield from growth([self._once(None, axis) for axis in (HEIGHT, WIDTH)])
        before = self._before(module, call)
        maps = list(filter(self._holds_map, before))
        for layer in dict.fromkeys(maps[:1] + maps[-1:]):
            yield from growth([self._once(layer, axis) for axis in (HEIGHT, WIDTH)])
        for layer in self._outermost(before):
            shape = self.unchanged.shapes[layer][0]
            assert shape is not None
            free = [run for run in (self._once(layer, axis) for axis in range(1, len(shape))) if run.through]
            if len(free) == len(shape) - 2:  # all axes but one
                yield from growth((free * 2)[:2])

    def _of_sizes(self, module: nn.Module, value: Shape, followed: bool) -> Seen:
        """Layout from axes of size 1, after pooling over all positions, or else from the type of the layer."""
        first = {2: Layout.NC, 3: Layout.NCT, 4: Layout.NCHW}.get(len(value))
        last = {2: Layout.NC, 3: Layout.NTC, 4: Layout.NHWC}.get(len(value))
        if len(value) == 2 or (followed and set(value[2:]) == {1}):
            return Seen(first, "which has too many axes")
        if followed and set(value[1:-1]) == {1}:
            return Seen(last, "which has too many axes")
        channel_axis = self._channel_axis(module, value)
        if channel_axis is not None:
            return Seen(first if channel_axis == 1 else last, "which has too many axes")
        reason = (
            "its shape does not follow that of the image" if followed else "the network takes images of one size only"
        )
        return Seen(None, f"and nothing shows what its axes hold: {reason}")

    def _channel_axis(self, module: nn.Module, value: Shape) -> int | None:
        """Channel axis of the last layer inside a module with an output of this shape.

        A linear layer counts if it reads or writes as many features as some layer norm of the network normalises; one
        that mixes tokens does not.
        """
        norms = [module_inside for module_inside in self.modules.values() if isinstance(module_inside, nn.LayerNorm)]
        widths = {norm.normalized_shape[-1] for norm in norms}
        inside = set(module.modules())
        for layer in reversed(self.unchanged.order):
            if layer not in inside or self.unchanged.shapes[layer][-1] != value:
                continue
            if isinstance(layer, MAP_LAYERS):
                return 1
            if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
                return -1
            if isinstance(layer, nn.Linear) and not widths.isdisjoint((layer.in_features, layer.out_features)):
                return -1
        return None

    def _before(self, module: nn.Module, call: int) -> list[nn.Module]:
        """Layers that have finished by the end of the module's call, including itself."""
        ends = [position for position, layer in enumerate(self.unchanged.order) if layer is module]
        return self.unchanged.order[: ends[call] + 1]

    def _outermost(self, layers: list[nn.Module]) -> list[nn.Module]:
        """Layers that run once and output maps or tokens, outermost first, then latest first."""
        depth = {layer: name.count(".") for name, layer in self.modules.items()}
        candidates = []
        for layer in reversed(layers):
            shape = self.unchanged.shapes[layer][0]
            if len(self.unchanged.shapes[layer]) == 1 and shape is not None and len(shape) in (3, 4) and shape[0] == 1:
                candidates.append(layer)
        return sorted(candidates, key=lambda layer: depth[layer])[:MOST_LAYERS]

    def _holds_map(self, layer: nn.Module) -> bool:
        shape = self.unchanged.shapes[layer][0]
        whole = shape is not None and len(shape) == 4 and shape[HEIGHT] * shape[WIDTH] > 1
        return whole and isinstance(layer, MAP_LAYERS)

    def _once(self, layer: nn.Module | None, axis: int) -> _Run:
        if (layer, axis) not in self._runs:
            self._runs[layer, axis] = self._run(layer, axis)
        return self._runs[layer, axis]

    def _run(self, layer: nn.Module | None, axis: int) -> _Run:
        """Run a pass with the output of the layer (None: the image) doubled along the axis; 0: unchanged."""
        run = _Run([], defaultdict(list), False)

        def note(module: nn.Module, inputs: Any, output: Any) -> Any:
            doubled = _doubled(output, axis) if module is layer else None
            noted = output if doubled is None else doubled
            run.order.append(module)
            run.shapes[module].append(tuple(noted.shape) if isinstance(noted, Tensor) else None)
            return doubled

        image = _doubled(self.image, axis) if layer is None and axis else self.image
        with ExitStack() as hooks:
            for module in self.modules.values():
                hooks.enter_context(module.register_forward_hook(note))
            with suppress(Exception):  # whatever the network raises at a value of another size
                if self.state:
                    functional_call(self.classifier, self.state, (image,))
                else:
                    self.classifier(image)
                return run._replace(through=True)
        return run


def layout_shown(value: Shape, growth: Growth) -> Seen:
    """Layout of a value of this shape, (1, ...), from the axes that grow; otherwise what those axes hold."""
    height, width = growth
    grown = height | width
    if not grown:
        return Seen(None, "")
    if 0 in grown:
        return Seen(None, "and its batch axis grows with the image: it holds windows of it")
    if len(value) == 4:
        if height == width == {2}:
            return Seen(Layout.NHTC, "")
        if height <= {1} and width <= {2}:
            return Seen(Layout.NHWC, "")
        if len(height) < 2 and len(width) < 2 and grown <= {2, 3} and not height & width:
            return Seen(Layout.NCHW, "")
    if len(value) == 3 and len(grown) == 1:
        return Seen(Layout.NTC if grown == {1} else Layout.NCT, "")
    axes = " and ".join(map(str, sorted(grown)))
    content = "channels and positions in one" if len(value) == 2 else "positions in an order that is not known"
    return Seen(None, f"and its axis {axes} grows with the image: it holds {content}")


def _doubled(value: Tensor, axis: int) -> Tensor:
    return torch.cat([value, value], axis)
