"""A number that stands for a classifier as it is now: its modules, their settings and hooks, and all its tensors."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier

_ROW = 4096  # numbers that are weighted and summed at a time
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_OWN = frozenset(vars(nn.Module()))  # attributes that every module has
_NUMBERS = itertools.count(1)
_NUMBERED: dict[int, tuple[weakref.ref[Any], int]] = {}  # objects by their id, while they live


@torch.no_grad()
def weights_stamp(classifier: Classifier) -> int:
    """A number that another classifier, or a change of this one, would change; the mode of its modules does not.

    Noticed are edits in place, also through `.data`; new weights; another device or type; modules and hooks that were
    added, removed or replaced; and attributes of modules: numbers, strings, arrays and tensors by their content, also
    in tuples, lists, sets and dictionaries, and functions and all other objects by which they are. What such an
    object holds is not looked at. It takes about as long as reading the weights once.
    """
    tensors: list[Tensor] = []
    parts: list[Any] = [_number(classifier), _number(classifier.output), tuple(classifier.sites.items())]
    for name, module in classifier.named_modules():
        parts += [name, _number(module), type(module), tuple(_settings(module, tensors))]
        tensors += [each for each in (*module._parameters.values(), *module._buffers.values()) if each is not None]
    parts += [(each.data_ptr(), _version(each), each.dtype, each.device, tuple(each.shape)) for each in tensors]
    prints = [each.cpu() for each in map(_fingerprint, tensors) if each is not None]
    return hash((*parts, *(torch.stack(prints).tolist() if prints else ())))


def _version(tensor: Tensor) -> int:
    """Number of the edits in place of a tensor, which those made in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version


def _settings(module: nn.Module, tensors: list[Tensor]) -> Iterator[Hashable]:
    """What stands for a module's own attributes and hooks; tensors among them are added to the list."""
    for name, value in vars(module).items():
        if name not in _OWN:
            yield name, _content(value, tensors, ())
    yield tuple(module._forward_hooks), tuple(module._forward_pre_hooks)


def _content(value: object, tensors: list[Tensor], around: tuple[int, ...]) -> Hashable:
    """What stands for a value: its content where that is plain, else its number; `around` are what holds it."""
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, Tensor):
        tensors.append(value)
        return Tensor
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (tuple, list, set, frozenset, dict)) and id(value) not in around:
        each = value.items() if isinstance(value, dict) else value
        found = tuple(_content(one, tensors, (*around, id(value))) for one in each)
        return type(value), frozenset(found) if isinstance(value, (set, frozenset)) else found
    return _number(value)


def _number(value: object) -> int:
    """A number of an object that no other one has, unlike its id, which one that is made later can have again."""
    key = id(value)
    if key in _NUMBERED and _NUMBERED[key][0]() is value:
        return _NUMBERED[key][1]
    number = next(_NUMBERS)
    try:
        _NUMBERED[key] = weakref.ref(value, lambda _: _NUMBERED.pop(key, None)), number
    except TypeError:  # such as torch.dtype, of which there is one of each kind
        return key
    return number


def _fingerprint(tensor: Tensor) -> Tensor | None:
    """A sum of all numbers, each times a random one, in which every place counts; shape ()."""
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
        return None
    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    values = values.detach().flatten()
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float() if values.is_floating_point() else values.double()
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
