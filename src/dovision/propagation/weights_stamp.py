"""Stamp of a classifier as it is now: its modules, their settings and hooks, and all its tensors."""

from __future__ import annotations

import itertools
import weakref
from collections import defaultdict
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache, partial
from hashlib import blake2b
from numbers import Number
from pathlib import PurePath
from threading import RLock
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier

_ROW = 4096  # numbers that are weighted and summed at a time
_BY_VALUE = (Number, str, bytes, type(None), np.generic, range, slice, PurePath, torch.device, torch.dtype)
_SCALAR_TYPES = {bool, int, float, str, type(None)}
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # attributes that every module has
_NUMBERS = itertools.count(1)
_NUMBERED: dict[int, tuple[weakref.ref[Any], int]] = {}  # objects by their id, while they live
_LOCK = RLock()
_HELD: MutableMapping[Classifier, tuple[str, str]] = weakref.WeakKeyDictionary()  # of `weights_read_once`


@torch.no_grad()
def weights_stamp(classifier: Classifier) -> int:
    """Number that identifies a classifier's current state, whatever the mode of its modules.

    Noticed are edits in place, also through `.data`; new weights; another device or type; modules and hooks that were
    added, removed or replaced; and attributes of modules: numbers, strings, arrays and dense tensors by their content,
    also in tuples, lists, sets and dictionaries, and functions and all other objects by which they are. What such an
    object holds is not looked at. An attribute that a forward pass changes makes the number another one after each.
    It takes about as long as reading the weights once.
    """
    tensors: list[Tensor] = []
    content: list[Any] = [_number(classifier), _number(classifier.output), tuple(classifier.sites.items())]
    for name, module in classifier.named_modules():
        content += [name, _number(module), _number(type(module)), tuple(_settings(module, tensors))]
        tensors += [
            tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None
        ]
    for tensor in tensors:
        edits = 0 if tensor.is_inference() else tensor._version  # in place; those in inference mode are not counted
        content.append((tensor.data_ptr(), edits, tensor.dtype, tensor.device, tuple(tensor.shape)))
    rest, held = repr(content), _HELD.get(classifier)
    prints = held[1] if held and held[0] == rest else repr([*_prints(tensors)])
    if held is not None:
        _HELD[classifier] = rest, prints
    return int.from_bytes(blake2b((rest + prints).encode(), digest_size=8).digest(), "big")  # hash() takes -1 for -2


@contextmanager
def weights_read_once(classifier: Classifier) -> Iterator[None]:
    """Leave edits through `.data` unnoticed in a block, whose stamps then do not read the weights again."""
    _HELD.setdefault(classifier, ("", ""))
    try:
        yield
    finally:
        _HELD.pop(classifier, None)


def _settings(module: nn.Module, tensors: list[Tensor]) -> Iterator[object]:
    """Stand-ins for a module's own attributes and hooks; tensors among them are added to the list."""
    seen: dict[int, int] = {}
    for name, value in vars(module).items():
        if name not in _OF_EVERY_MODULE:
            yield name, _content(value, tensors, seen)
    yield tuple(module._forward_hooks), tuple(module._forward_pre_hooks)


def _content(value: object, tensors: list[Tensor], seen: dict[int, int]) -> object:
    """Stand-in for a value: its content if it is plain, otherwise its number; `seen` has containers."""
    if isinstance(value, _BY_VALUE):
        return value
    if isinstance(value, Tensor) and value.layout is torch.strided and not value.is_nested:
        tensors.append(value)
        return "tensor"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, blake2b(value.tobytes()).hexdigest()
    if isinstance(value, MethodType):  # a new object each time
        return _number(value.__self__), _number(value.__func__)
    if isinstance(value, partial):
        return _number(value.func), _content(value.args, tensors, seen), _content(value.keywords, tensors, seen)
    if not isinstance(value, (tuple, list, set, frozenset, dict)):
        return _number(value)
    if id(value) in seen:
        return "seen", seen[id(value)]
    seen[id(value)] = len(seen)
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
    is_scalar = set(map(type, items)) <= _SCALAR_TYPES  # of thousands of names
    return type(value).__name__, items if is_scalar else [_content(item, tensors, seen) for item in items]


def _number(value: object) -> int:
    """Unique number of an object; unlike an id, it is never used again."""
    key = id(value)
    with _LOCK:
        if key in _NUMBERED and _NUMBERED[key][0]() is value:
            return _NUMBERED[key][1]
        number = next(_NUMBERS)
        try:
            _NUMBERED[key] = weakref.ref(value, lambda _: _NUMBERED.pop(key, None)), number
        except TypeError:  # such as None, of which there is one
            return -key
        return number


def _prints(tensors: list[Tensor]) -> Iterator[object]:
    """A hash of all tensors of a device, from the bytes of small ones and the fingerprints of large ones."""
    rows: defaultdict[torch.device, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
            continue
        values = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).detach().flatten()
        if len(values) <= _ROW:
            rows[values.device].append(values.contiguous().view(torch.uint8))
        else:
            if values.dtype not in (torch.float32, torch.float64):
                values = values.float() if values.is_floating_point() else values.double()
            rows[values.device].append(_fingerprint(values).view(1).view(torch.uint8))
    yield from (blake2b(torch.cat(several).cpu().numpy().tobytes()).hexdigest() for several in rows.values())


def _fingerprint(values: Tensor) -> Tensor:
    """A sum of all numbers, each times a random one, in which every place counts; shape ()."""
    factors = _factors(values.dtype, values.device)
    while len(values) > 1:
        whole = len(values) // _ROW * _ROW
        rest = values[whole:]
        values = torch.cat([values[:whole].view(-1, _ROW) @ factors, (rest @ factors[: len(rest)]).view(1)])
    return values.sum().double()


@lru_cache(maxsize=8)
def _factors(dtype: torch.dtype, device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand(_ROW, generator=random, dtype=torch.float64).to(device, dtype)
