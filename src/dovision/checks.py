"""Argument and tensor checks: the only source of error wording.

Every message says the name, the rule, what was got and, where there is one, the remedy.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def positive_int(name: str, value: object) -> int:
    """Return `value` if it is a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return value


def count(name: str, value: object) -> int:
    """Return `value` if it is a whole number of at least zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, got {value!r}.")
    return value


def switch(name: str, value: object) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}.")
    return value


def at_least(name: str, value: float, low: float, remedy: str = "") -> float:
    """Return `value` if it is a finite number of at least `low`."""
    if not math.isfinite(value) or value < low:
        raise ValueError(f"{name} must be at least {low:g}, got {value!r}.{_sentence(remedy)}")
    return value


def channel(name: str, value: object, channels: int) -> int:
    """Return `value` if it is the number of one of so many channels, counted from 0."""
    if count(name, value) >= channels:
        raise ValueError(f"{name} must lie in [0, {channels - 1}], the channels there are, got {value!r}.")
    return int(value)  # type: ignore[call-overload]  # a count is a whole number


def within(name: str, value: float, low: float, high: float, remedy: str = "") -> float:
    """Return `value` as a float if it is a finite number in [low, high]."""
    number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not number or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r}.{_sentence(remedy)}")
    return float(value)


def choice(name: str, value: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; otherwise the error names the nearest one."""
    legal = list(options)
    if value not in legal:
        raise ValueError(f"{name} must be one of {listed(legal)}, got {value!r}.{suggestion(value, legal)}")
    return value


def listed(names: Sequence[str], most: int = 24) -> str:
    """The first names of a list, and how many more there are, in a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def nearest(name: str, options: Iterable[str]) -> list[str]:
    """The options that `name` was probably meant to be, nearest first, at most three."""
    return difflib.get_close_matches(name, list(options), n=3, cutoff=0.6)


def suggestion(name: str, options: Iterable[str]) -> str:
    """A sentence with the nearest options, empty if none is near; starts with a space."""
    near = nearest(str(name), options)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def unknown_key(where: str, key: str, legal: Iterable[str], elsewhere: Sequence[str] = ()) -> str:
    """What to say of a key that is not one of `legal`: the nearest one, or those of `elsewhere`, and all there are."""
    legal = list(legal)
    near = nearest(key, legal) or elsewhere
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{where} has no key {key!r}.{meant} Its keys are: {', '.join(legal) or 'none'}."


def same_shape(**tensors: Tensor) -> None:
    """Raise unless all tensors have one shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{' and '.join(shapes)} must have the same shape, got {got}.")


def image_batch(image: Tensor) -> Tensor:
    """Return `image` if it is float, shape (B, C, H, W), with values in [0, 1]."""
    if image.ndim != 4 or not image.is_floating_point():
        raise ValueError(f"image must be float of shape (B, C, H, W), got {image.dtype} of shape {tuple(image.shape)}.")
    low, high = (bound.item() for bound in torch.aminmax(image.detach()))
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise ValueError(
            f"image must lie in [0, 1], got [{low:.2f}, {high:.2f}]. "
            "Normalise inside the classifier (mean, std), not in the dataset."
        )
    return image


def labels(label: Tensor, images: int, classes: int, multilabel: bool) -> Tensor:
    """Return `label` if it is a class number an image, shape (B,) int64, or, multilabel, an answer a class, (B, K)."""
    shape = (images, classes) if multilabel else (images,)
    if tuple(label.shape) != shape or (label.is_floating_point() and not multilabel):
        rule = f"of shape {shape} for a multilabel task" if multilabel else f"int64 of shape {shape}"
        raise ValueError(f"label must be {rule}, got {label.dtype} of shape {tuple(label.shape)}.")
    return label


def number(name: str, value: float | str) -> float:
    """Read a finite number or a fraction written as "8/255"."""
    parts = str(value).split("/")
    try:
        result = float(parts[0]) / float(parts[1]) if len(parts) == 2 else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        result = math.nan
    if isinstance(value, bool) or not math.isfinite(result):
        raise ValueError(f'{name} must be a number or a fraction such as "8/255", got {value!r}.')
    return result


def positive(name: str, value: float | str) -> float:
    """Read a number above zero, or a fraction written as "8/255"."""
    result = number(name, value)
    if result <= 0:
        raise ValueError(f"{name} must be above 0, got {value!r}.")
    return result


def epsilons(value: float | str | Sequence[float | str], norm: str) -> tuple[float, ...]:
    """Read one epsilon or a list of them, in pixel units; fractions as "8/255" are accepted.

    Raises:
        ValueError: an epsilon is negative, above 1 under Linf, or given twice.
    """
    listed = [value] if value is None or isinstance(value, (int, float, str)) else list(value)
    parsed = tuple(number("eps", item) for item in listed)
    for eps in parsed:
        if eps < 0 or (norm == "linf" and eps > 1):
            rule = "in [0, 1] pixel units" if norm == "linf" else "at least 0, in pixel units"
            raise ValueError(f'eps must be {rule}, got {eps:g}. For 8-bit steps write a fraction such as "8/255".')
    if len(set(parsed)) < len(parsed):
        raise ValueError(f"eps must name each value once, got {list(listed)!r}.")
    return parsed


def plain(name: str, value: object) -> object:
    """Return `value` if it is made of dict, list, str, int, float, bool and None only."""
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{name} must be made of plain types, got {type(value).__name__}.")


def lines(items: Sequence[str], most: int = 20) -> str:
    """The first items of a list, each in a line of its own, and how many more there are; starts with a line break."""
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return "".join(f"\n  {item}" for item in [*items[:most], *more])


def _sentence(remedy: str) -> str:
    return f" {remedy}" if remedy else ""
