"""Tracing with the sizes of all values known but for the number of images."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.proxy import Attribute

BATCH = 10007  # images of the values that are followed: a prime, so that sizes that depend on it are its multiples
_ASSIGNMENTS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift")
PURE: dict[Any, Callable[..., Any]] = {  # of an assignment that edits a tensor in place, the operation without it
    getattr(operator, f"i{name.rstrip('_')}"): getattr(operator, name) for name in _ASSIGNMENTS
}
_UNKNOWN = object()
_SIZES = ("size", "dim", "ndimension")  # methods of tensors
_CONSTANT_TYPES = (bool, int, float, str, torch.dtype, torch.device, torch.layout)
_OF_DEVICE = ("device", "is_cpu", "is_cuda", "is_meta", "is_mps", "is_xpu")  # attributes of tensors
_SAME_SIZES: tuple[Any, ...] = (  # as of their first argument; torch takes its time to find that out
    *(nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, F.batch_norm, F.layer_norm, F.group_norm),
    *(nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid),
    *(F.relu, F.relu6, F.gelu, F.silu, F.hardswish, F.hardsigmoid, torch.relu, torch.sigmoid, torch.tanh),
)
_SAME: tuple[Any, ...] = (  # as their first argument
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
)
_SUMS = (operator.add, operator.sub, operator.mul)  # the same, where both arguments have the same sizes


class ShapedProxy(fx.Proxy):
    """Value in a trace; `like` has its dtype and shape, if known."""

    like: Any = _UNKNOWN

    def __getattr__(self, k: str) -> Any:
        tracer: Any = self.tracer
        return tracer.attribute(self, k)


def _edit(function: Callable[..., Any]) -> Callable[[ShapedProxy, Any], Any]:
    """Method of an augmented assignment such as +=, which edits a tensor in place, also by its other names."""

    def edit(self: ShapedProxy, other: Any) -> Any:
        if not isinstance(self.like, Tensor):
            return NotImplemented  # a number is not edited
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return edit


for _function in PURE:
    setattr(ShapedProxy, f"__{_function.__name__}__", _edit(_function))


class ShapedTracer(fx.Tracer):
    """Tracer that follows tensors on the meta device with the graph, so that the model's code sees sizes as numbers.

    Sizes that depend on the number of images stay symbols; comparisons of them are made as for many images. So
    paddings, windows and checks that look at sizes leave constants in the graph, which is for images of this size
    alone.
    While torch.fx traces, the modules of all threads call its tracer; those of other threads go on as ever.

    They are on torch's meta device; where its kernels cannot follow, or a block of automatic mixed precision chooses
    types by the device, they are shown to the step as fake tensors of the images' device.

    Args:
        image: shape (B, C, H, W).
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._following = False
        self._sample = image[:1]
        self._image = torch.empty(BATCH, *image.shape[1:], dtype=image.dtype, device="meta")
        self._mixed = torch.is_autocast_enabled(image.device.type)
        self._names: dict[Tensor, str] = {}
        self._weights: dict[Tensor, Tensor] = {}  # of the model, on the meta device
        self._input: Any = None
        self._number: Any = None  # of images, as a step

    def traced_here(self) -> bool:
        """Return whether a call of a module belongs to the trace."""
        return threading.get_ident() == self.thread and not self._following

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        name = self._name(attr_val) if self.traced_here() and isinstance(attr_val, nn.Parameter) else None
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def create_arg(self, a: Any) -> Any:
        name = self._name(a) if isinstance(a, Tensor) else None
        return super().create_arg(a) if name is None else self.create_node("get_attr", name, (), {})

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return super().call_module(m, forward, args, kwargs) if self.traced_here() else forward(*args, **kwargs)

    def proxy(self, node: fx.Node) -> ShapedProxy:
        return ShapedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **options: Any) -> Any:
        if kind == "call_method" and target in _SIZES and isinstance(args[0], ShapedProxy):
            number = self._known_size(target, *args, **kwargs)
            if number is not None:
                return number
        proxy = super().create_proxy(kind, target, args, kwargs, *others, **options)
        if isinstance(proxy, ShapedProxy):
            proxy.like = like = self._like(kind, target, args, kwargs)
            proxy.node.meta["like"] = like
            proxy.node.meta["shared"] = isinstance(like, Tensor) and all(size % BATCH for size in like.shape)
        if kind == "placeholder":
            self._input = proxy
        return proxy

    def attribute(self, owner: ShapedProxy, name: str) -> Any:
        """An attribute of a value: sizes and dtype as constants, other tensors as steps, methods as usual."""
        fields = getattr(type(owner.like), "__match_args__", ()) if isinstance(owner.like, tuple) else ()
        if name in fields:  # of torch.return_types, which torch.fx takes for tuples without names
            return operator.getitem(owner, fields.index(name))
        if not isinstance(owner.like, Tensor):
            return Attribute(owner, name)
        if name == "shape":
            return self._sizes(owner)
        value = getattr(self._sample if name in _OF_DEVICE else owner.like, name, _UNKNOWN)
        if isinstance(value, _CONSTANT_TYPES):
            return value
        if isinstance(value, Tensor):
            return self.create_proxy("call_function", getattr, (owner, name), {})
        return Attribute(owner, name)

    def to_bool(self, obj: fx.Proxy) -> bool:
        like = getattr(obj, "like", _UNKNOWN)
        return bool(like) if isinstance(like, (bool, int)) else super().to_bool(obj)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        like = getattr(obj, "like", _UNKNOWN)
        if isinstance(like, (tuple, list)) or (isinstance(like, Tensor) and like.ndim and like.shape[0] % BATCH):
            return iter([operator.getitem(obj, number) for number in range(len(like))])
        return super().iter(obj)

    def _name(self, tensor: Tensor) -> str | None:
        """Name of a parameter or buffer in the model, cached: torch.fx searches all of them each time."""
        if not self._names:
            self._names = {weight: name for name, weight in (*self.root.named_buffers(), *self.root.named_parameters())}
        return self._names.get(tensor)

    def _known_size(self, method: str, owner: ShapedProxy, dim: int | None = None) -> Any:
        """Result of size() and dim() as numbers; None where they remain steps."""
        if not isinstance(owner.like, Tensor):
            return None
        if method != "size":
            return owner.like.ndim
        if dim is None:
            return self._sizes(owner)
        images, rest = divmod(owner.like.shape[dim], BATCH)
        return self._images(images) if images and not rest else owner.like.shape[dim]

    def _images(self, times: int) -> Any:
        """The number of images, read off the classifier's input, times a factor."""
        if self._number is None:
            self._number = super().create_proxy("call_method", "size", (self._input, 0), {})
            self._number.like = BATCH
        return self._number if times == 1 else times * self._number

    def _sizes(self, owner: ShapedProxy) -> tuple[Any, ...]:
        return tuple(owner.size(dim) for dim in range(owner.like.ndim))

    def _like(self, op: str, target: Any, args: Any, kwargs: Any) -> Any:
        """Meta tensor of a step's result; _UNKNOWN if it cannot be computed."""
        if op == "placeholder":
            return self._image
        self._following = True
        try:
            function = self._function(op, target)
            if op == "get_attr":
                return self._without_numbers(function())
            args, kwargs = fx.node.map_aggregate((args, kwargs), _value)
            same = type(function) if isinstance(function, nn.Module) else function
            if args and isinstance(args[0], Tensor) and not self._mixed:
                if same in _SAME:
                    return args[0]
                if same in _SAME_SIZES or (same in _SUMS and _are_alike(*args)):
                    return torch.empty(args[0].shape, dtype=args[0].dtype, device="meta")
                if same is nn.Linear:
                    sizes = (*args[0].shape[:-1], len(function.weight))
                    return torch.empty(sizes, dtype=args[0].dtype, device="meta")
            return self._followed(function, args, kwargs)
        except Exception:  # whatever the step raises when it is shown a value without numbers
            return _UNKNOWN
        finally:
            self._following = False

    @torch.no_grad()
    def _followed(self, function: Any, args: Any, kwargs: Any) -> Any:
        if not self._mixed:
            try:
                args_there, kwargs_there = fx.node.map_aggregate((args, kwargs), self._without_numbers)
                return self._without_weights(function)(*args_there, **kwargs_there)
            except Exception:  # no kernel of the meta device, or tensors of two devices
                pass
        with self._fake:
            owners: dict[int, Tensor] = {}  # by the memory of what stands for them

            def faked(leaf: Any) -> Any:
                if not isinstance(leaf, Tensor) or leaf.device.type != "meta":
                    return leaf
                fake = torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device=self._sample.device)
                owners[fake.untyped_storage()._cdata] = leaf
                return fake

            args, kwargs = fx.node.map_aggregate((args, kwargs), faked)
            result = function(*args, **kwargs)

        def followed(leaf: Any) -> Any:
            owner = owners.get(leaf.untyped_storage()._cdata) if isinstance(leaf, Tensor) else None
            if owner is None or owner.dtype != leaf.dtype:
                return self._without_numbers(leaf)
            return owner.as_strided(leaf.size(), leaf.stride(), owner.storage_offset() + leaf.storage_offset())

        shown = fx.node.map_aggregate(result, followed)
        return type(result)(shown) if hasattr(result, "n_sequence_fields") else shown

    def _function(self, op: str, target: Any) -> Any:
        if op == "get_attr":
            value = operator.attrgetter(target)(self.root)
            return lambda: value
        if op == "call_module":
            return self.root.get_submodule(target)
        if op == "call_method":
            return lambda owner, *args, **kwargs: getattr(owner, target)(*args, **kwargs)
        return target

    def _without_numbers(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.device.type == "meta":
            return leaf
        if leaf not in self._weights:
            self._weights[leaf] = torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device="meta")
        return self._weights[leaf]

    def _without_weights(self, function: Any) -> Any:
        """A function, or a module's copy with its weights on the meta device, invisible to other threads."""
        if not isinstance(function, nn.Module):
            return function
        module = copy.copy(function)
        for tensors in ("_parameters", "_buffers"):
            tensors_by_name = getattr(function, tensors).items()
            module.__dict__[tensors] = {name: self._without_numbers(value) for name, value in tensors_by_name}
        modules = function._modules.items()
        module.__dict__["_modules"] = {name: child and self._without_weights(child).__self__ for name, child in modules}
        return module.forward


def _are_alike(one: Tensor, other: object) -> bool:
    return isinstance(other, Tensor) and (one.shape, one.dtype) == (other.shape, other.dtype)


def _value(leaf: Any) -> Any:
    """The meta tensor of an argument."""
    if isinstance(leaf, Attribute):
        raise TypeError("an attribute that is not known")
    if not isinstance(leaf, ShapedProxy):
        return leaf
    if leaf.like is _UNKNOWN:
        raise TypeError("a value that is not known")
    return leaf.like
