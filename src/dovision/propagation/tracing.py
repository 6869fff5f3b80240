"""Conversion of a classifier to its graph: each operator as a function, nothing edited in place."""

from __future__ import annotations

import copy
import itertools
import operator
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dovision.interfaces import Classifier
from dovision.propagation.graph import Graph, Method, Step
from dovision.propagation.shaped_tracer import PURE, ShapedTracer
from dovision.propagation.sites import Site


class Untraceable(Exception):
    """The tracer cannot follow the model; the message says where."""


def trace(classifier: Classifier, site: Site | None, image: Tensor) -> Graph:
    """Follow the classifier, in eval mode, from the image to the logits; `site` None is the image.

    The graph is right for any number of images of the shape of `image`, (B, C, H, W).

    Raises:
        Untraceable: control flow that depends on values, or a site lies inside a module that is taken as one step.
    """
    tracer = _Tracer(site, image)
    attributes = set(vars(classifier))
    try:
        graph = _Reader(classifier).read(tracer.trace(classifier))
    except Untraceable:
        raise
    except Exception as error:  # whatever the model's own code raises when it is shown a proxy
        raise Untraceable(f"{type(error).__name__}: {error}") from error
    finally:
        for name in set(vars(classifier)) - attributes:  # the tracer stores tensors that are no parameters on the model
            delattr(classifier, name)
    if site is not None and not tracer.is_marked:
        raise Untraceable("the site lies inside a module that is taken as one step")
    return graph


def mark_site(value: Any) -> Any:
    """Mark the edit's position in the graph."""
    return value


class _Tracer(ShapedTracer):
    """Tracer that puts a mark where the site's value is entered and left; the image is marked by itself.

    Args:
        site: None is the image.
        image: shape (B, C, H, W).
    """

    def __init__(self, site: Site | None, image: Tensor) -> None:
        super().__init__(image)
        self.site = site
        self.calls = Counter[nn.Module]()
        self.is_marked = False

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        run = super().call_module
        if not self.traced_here():
            return run(m, forward, args, kwargs)
        call = self.calls[m]
        self.calls[m] += 1

        def traced(*args: Any, **kwargs: Any) -> Any:
            return run(m, forward, args, kwargs)

        site = self.site
        if site is None or m is not site.module or call != (site.call or 0):
            return traced(*args, **kwargs)
        self.is_marked = True
        value = site.enter(traced, *args, **kwargs)
        return site.leave(traced, self.create_proxy("call_function", mark_site, (value,), {}))


class _Reader:
    """Reader of the tracer's nodes, which become steps."""

    def __init__(self, classifier: Classifier) -> None:
        self.root = classifier
        self.results: dict[fx.Node, Any] = {}
        self.renewed: dict[Step, Step] = {}  # edited in place, and the step that did it: what is read afterwards
        self.likes: dict[Step, list[Tensor]] = {}  # values without numbers, as the model's own pass lays them out
        self.memory: defaultdict[int, list[Step]] = defaultdict(list)  # the same, by their memory
        self.joined: defaultdict[int, set[int]] = defaultdict(set)  # memories that are one in some layouts
        self.stale: set[Step] = set()  # whose memory was edited by another name
        self.steps: list[Step] = []

    def read(self, graph: fx.Graph) -> Graph:
        site = output = None
        for node in graph.nodes:
            if node.op == "get_attr":
                self.results[node] = operator.attrgetter(node.target)(self.root)
            elif node.op == "output":
                output = self._current(node.args[0])
            else:
                self.results[node] = step = self._step(node)
                site = step if step.function is mark_site else site  # the image's comes first
        if site is None or not isinstance(output, Step):
            raise Untraceable("the output is not one tensor")
        return Graph(tuple(self.steps), self.steps[0], site, output)

    def _current(self, argument: Any) -> Any:
        def look_up(leaf: Any) -> Any:
            result = self.results[leaf] if isinstance(leaf, fx.Node) else leaf
            while isinstance(result, Step) and result in self.renewed:
                result = self.renewed[result]
            if isinstance(result, Step) and result in self.stale:
                raise Untraceable(f"{result.name} is read after an edit in place of its memory by another name")
            return result

        return fx.node.map_aggregate(argument, look_up)

    def _step(self, node: fx.Node) -> Step:
        args, kwargs = self._current(tuple(node.args)), dict(self._current(dict(node.kwargs)))
        function, settings = self._function(node)
        kwargs |= settings
        pure, in_place = _without_edit(function, kwargs)
        step = Step(node.name, pure, args, kwargs, node.meta.get("shared", False))
        self.steps.append(step)
        if in_place:
            if not (args and isinstance(args[0], Step) and self.likes[args[0]]):
                raise Untraceable(f"{node.name} edits in place a value whose memory is not known")
            self.renewed[args[0]] = step
            for like in self.likes[args[0]]:
                self._note_edit(like)
        self.likes[step] = likes = _tensors(node.meta.get("like"))
        for like in likes:
            self.memory[_storage(like)].append(step)
        name = pure.name if isinstance(pure, Method) else getattr(pure, "__name__", "")
        may_view = isinstance(pure, nn.Flatten) or name in _MAY_VIEW  # in some layouts; in others it copies
        if args and isinstance(args[0], Step) and may_view:
            for one, other in itertools.product(likes, self.likes[args[0]]):
                self.joined[_storage(one)].add(_storage(other))
                self.joined[_storage(other)].add(_storage(one))
        return step

    def _note_edit(self, edited: Tensor) -> None:
        """Mark as stale all values that share, or may share, elements with an edited value."""
        first = _storage(edited)
        reached, left = {first}, [first]
        while left:
            memory = left.pop()
            self.stale.update(self.memory[memory])
            left += self.joined[memory] - reached
            reached |= self.joined[memory]

    def _function(self, node: fx.Node) -> tuple[Callable[..., Any], dict[str, Any]]:
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            function, names = AS_FUNCTIONS.get(type(module), (module, ""))
            hooks = module._forward_hooks or module._forward_pre_hooks
            if hooks or getattr(module, "padding_mode", "zeros") != "zeros" or len(node.args) + len(node.kwargs) > 1:
                return module, {}
            pairs = (name.partition("=") for name in names.split())
            return function, {name: getattr(module, attribute or name) for name, _, attribute in pairs}
        if node.op == "call_method":
            return Method(str(node.target)), {}
        return (mark_site if node.op == "placeholder" else node.target), {}  # type: ignore[return-value]


# For a module the function that it calls, and the arguments that are its attributes (argument=attribute).
AS_FUNCTIONS: dict[type[nn.Module], tuple[Callable[..., Any], str]] = {
    nn.Conv2d: (F.conv2d, "weight bias stride padding dilation groups"),
    nn.ConvTranspose2d: (F.conv_transpose2d, "weight bias stride padding output_padding groups dilation"),
    nn.BatchNorm2d: (F.batch_norm, "running_mean running_var weight bias eps training"),
    nn.ReLU: (F.relu, "inplace"),
    nn.MaxPool2d: (F.max_pool2d, "kernel_size stride padding dilation ceil_mode return_indices"),
    nn.AvgPool2d: (F.avg_pool2d, "kernel_size stride padding ceil_mode count_include_pad divisor_override"),
    nn.Upsample: (F.interpolate, "size scale_factor mode align_corners recompute_scale_factor"),
    nn.UpsamplingBilinear2d: (F.interpolate, "size scale_factor mode align_corners recompute_scale_factor"),
    nn.ConstantPad2d: (F.pad, "pad=padding value"),
    nn.ZeroPad2d: (F.pad, "pad=padding value"),
    nn.Linear: (F.linear, "weight bias"),
    nn.LayerNorm: (F.layer_norm, "normalized_shape weight bias eps"),
}


_MAY_VIEW = ("reshape", "reshape_as", "flatten", "ravel", "contiguous", "to")  # by the layout of their argument


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of a value, also of one that holds others."""
    leaves: list[Any] = []
    fx.node.map_aggregate(value, leaves.append)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _storage(value: Tensor) -> int:
    """A number that identifies the storage of a value while it is held."""
    return value.untyped_storage()._cdata


def _without_edit(function: Callable[..., Any], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], bool]:
    """Out-of-place form of an operation, and whether the original writes into its first argument."""
    if kwargs.get("out") is not None:
        raise Untraceable("a function writes its result into another value, out=")
    if kwargs.pop("inplace", False):
        return function, True
    if isinstance(function, nn.Module) and getattr(function, "inplace", False):
        function = copy.copy(function)
        function.__dict__["inplace"] = False
        return function, True
    if function in PURE:
        return PURE[function], True
    name = function.name if isinstance(function, Method) else getattr(function, "__name__", "")
    if not name.endswith("_") or name.endswith("__"):
        return function, False
    pure = Method(name[:-1]) if isinstance(function, Method) else getattr(torch, name[:-1], None)
    if pure is None or not hasattr(Tensor, name[:-1]):
        raise Untraceable(f"{name} writes in place")
    return pure, True
