"""A number that stands for a classifier as it is now: its modules, their settings and hooks, and all its tensors."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier

_ROW = 4096  # numbers that are weighted and summed at a time
_PLAIN = (bool, int, float, str, type(None))


@torch.no_grad()
def weights_stamp(classifier: Classifier) -> int:
    """A number that another classifier, or a change of this one, would change; the mode of its modules does not.

    Noticed are edits in place, also through `.data`; new weights; another device or type; modules and hooks that were
    added, removed or replaced; and settings of modules that are numbers, strings or tuples of them. It takes about as
    long as reading the weights once.
    """
    tensors: list[Tensor] = []
    parts: list[Any] = [id(classifier), id(classifier.output), tuple(classifier.sites.items())]
    for name, module in classifier.named_modules():
        parts += [name, id(module), type(module), tuple(_settings(module))]
        tensors += [each for each in _values(module) if isinstance(each, Tensor)]
    parts += [(each.data_ptr(), _version(each), each.dtype, each.device, tuple(each.shape)) for each in tensors]
    prints = [each.cpu() for each in map(_fingerprint, tensors) if each is not None]
    return hash((*parts, *(torch.stack(prints).tolist() if prints else ())))


def _values(module: nn.Module) -> Iterator[object]:
    """Parameters, buffers, and other attributes of a module's own."""
    yield from module._parameters.values()
    yield from module._buffers.values()
    yield from vars(module).values()


def _version(tensor: Tensor) -> int:
    """Number of the edits in place of a tensor, which those made in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version


def _settings(module: nn.Module) -> Iterator[Hashable]:
    for name, value in vars(module).items():
        numbers = isinstance(value, tuple) and all(isinstance(each, _PLAIN) for each in value)
        if name != "training" and (numbers or isinstance(value, _PLAIN)):
            yield name, value
    yield tuple(module._forward_hooks), tuple(module._forward_pre_hooks)


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
