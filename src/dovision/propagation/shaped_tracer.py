"""Tracing with the sizes of all values known but for the number of images."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.proxy import Attribute

from dovision.types import Shape

BATCH = 10007  # images of the values that are followed: a prime, so that sizes that depend on it are its multiples
_UNKNOWN = object()
_SIZES = ("size", "dim", "ndimension")  # methods of tensors
_PLAIN = (bool, int, float, str, torch.dtype, torch.device, torch.layout)


class ShapedProxy(fx.Proxy):
    """A value in a trace, with one of its type and sizes in `like`, if that could be found."""

    like: Any = _UNKNOWN

    def __getattr__(self, k: str) -> Any:
        tracer: Any = self.tracer
        return tracer.attribute(self, k)


class ShapedTracer(fx.Tracer):
    """Follows fake tensors along with the graph, so that the model's code sees sizes as numbers.

    Sizes that depend on the number of images stay symbols; comparisons of them are made as for many images. So
    paddings, windows and checks that look at sizes leave constants in the graph, which is for images of this size
    alone.
    While torch.fx traces, the modules of all threads call its tracer; those of other threads go on as ever.

    Args:
        shape: (C, H, W) of the images.
        dtype: of the images.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._following = False
        with self._fake:
            self._image = torch.empty(BATCH, *shape, dtype=dtype)
        self._input: Any = None
        self._number: Any = None  # of images, as a step

    def traced_here(self) -> bool:
        """Return whether a call of a module is one of the trace."""
        return threading.get_ident() == self.thread and not self._following

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return super().getattr(attr, attr_val, parameter_proxy_cache) if self.traced_here() else attr_val

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return super().call_module(m, forward, args, kwargs) if self.traced_here() else forward(*args, **kwargs)

    def proxy(self, node: fx.Node) -> ShapedProxy:
        return ShapedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **options: Any) -> Any:
        if kind == "call_method" and target in _SIZES and isinstance(args[0], ShapedProxy):
            known = self._known_size(target, *args, **kwargs)
            if known is not None:
                return known
        proxy = super().create_proxy(kind, target, args, kwargs, *others, **options)
        if isinstance(proxy, ShapedProxy):
            proxy.like = self._like(kind, target, args, kwargs)
        if kind == "placeholder":
            self._input = proxy
        return proxy

    def attribute(self, owner: ShapedProxy, name: str) -> Any:
        """An attribute of a value: its sizes and type as they are known, other tensors as steps, methods as ever."""
        if not isinstance(owner.like, Tensor):
            return Attribute(owner, name)
        if name == "shape":
            return self._sizes(owner)
        value = getattr(owner.like, name, _UNKNOWN)
        if isinstance(value, _PLAIN):
            return value
        return (
            self.create_proxy("call_function", getattr, (owner, name), {})
            if isinstance(value, Tensor)
            else (Attribute(owner, name))
        )

    def to_bool(self, obj: fx.Proxy) -> bool:
        like = getattr(obj, "like", _UNKNOWN)
        return bool(like) if isinstance(like, (bool, int)) else super().to_bool(obj)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        like = getattr(obj, "like", _UNKNOWN)
        if isinstance(like, (tuple, list)) or (isinstance(like, Tensor) and like.ndim and like.shape[0] % BATCH):
            return iter([operator.getitem(obj, number) for number in range(len(like))])
        return super().iter(obj)

    def _known_size(self, method: str, owner: ShapedProxy, dim: int | None = None) -> Any:
        """What size() and dim() give; None where they are to be steps."""
        if not isinstance(owner.like, Tensor):
            return None
        if method != "size":
            return owner.like.ndim
        if dim is None:
            return self._sizes(owner)
        images, rest = divmod(owner.like.shape[dim], BATCH)
        return self._images(images) if images and not rest else owner.like.shape[dim]

    def _images(self, times: int) -> Any:
        """So many times the number of images, read off the classifier's input."""
        if self._number is None:
            self._number = super().create_proxy("call_method", "size", (self._input, 0), {})
            self._number.like = BATCH
        return self._number if times == 1 else times * self._number

    def _sizes(self, owner: ShapedProxy) -> tuple[Any, ...]:
        return tuple(owner.size(dim) for dim in range(owner.like.ndim))

    def _like(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        """What a step gives for fake values, or unknown."""
        if kind == "placeholder":
            return self._image
        self._following = True
        try:
            args, kwargs = fx.node.map_aggregate((args, kwargs), _value)
            with self._fake, torch.no_grad():
                return self._run(kind, target, args, kwargs)
        except Exception:  # whatever the step raises when it is shown a fake value
            return _UNKNOWN
        finally:
            self._following = False

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "get_attr":
            return operator.attrgetter(target)(self.root)
        if kind == "call_module":
            return self.root.get_submodule(target).forward(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)


def _value(leaf: Any) -> Any:
    """The fake value of an argument."""
    if isinstance(leaf, Attribute):
        raise TypeError("an attribute that is not known")
    if not isinstance(leaf, ShapedProxy):
        return leaf
    if leaf.like is _UNKNOWN:
        raise TypeError("a value that is not known")
    return leaf.like
