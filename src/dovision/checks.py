"""Argument and tensor checks: the only source of error wording.

Every message says the name, the rule, what was got and, where there is one, the remedy.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import ModuleType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

if TYPE_CHECKING:  # a misspelt key is answered before torch is imported
    from torch import Tensor

_T = TypeVar("_T")
MOST_COUNT = 10**6  # of a count of steps, draws, units or channels, each of which costs work
MOST_IMAGES = 10**9  # of a limit, which costs none
MOST_CELLS = 1 << 22  # of a grid: a cell for each pixel of an image of 2,048 x 2,048
MOST_CONTROLS = 1000  # of each unit, or of each object


def instance(name: str, value: _T, base: type[Any] | tuple[type[Any], ...], example: str) -> _T:
    """Return `value` if it is a `kind`; the error names a class or a function, which is to be called."""
    if not isinstance(value, base):
        raise ValueError(f"{name} must be {example}, got {in_words(value)}")
    return value


def function(name: str, value: Callable[..., Any], example: str) -> Callable[..., Any]:
    """Return `value` if it is callable and not a class, which would be constructed instead of called."""
    if not callable(value) or inspect.isclass(value):
        raise ValueError(f"{name} must be {example}, got {in_words(value)}")
    return value


def in_words(value: object) -> str:
    """Describe a value at the end of an error, with a remedy if it must be called or constructed first."""
    if inspect.isclass(value) or inspect.isroutine(value):
        noun, call = ("class" if inspect.isclass(value) else "function"), getattr(value, "__name__", "it")
        return f"the {noun} {call} itself. Call it: {call}(...)."
    several = value if isinstance(value, (list, tuple)) else [value]
    shown = all(item is None or isinstance(item, (bool, int, float, str)) for item in several)
    return f"{value!r}." if shown else f"an object of class {type(value).__name__}."


def arguments(function: Callable[..., Any], positional: Sequence[object], keywords: Mapping[str, object]) -> None:
    """Raise a ValueError for the first argument of a call that is not of the type that the function annotates.

    Annotations that cannot be resolved are not looked at.
    """
    annotations, names = _annotations(function), inspect.signature(function).parameters
    for name, value in {**dict(zip(names, positional, strict=False)), **keywords}.items():
        _of_type(name, value, annotations.get(name, Any))


@functools.cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except (NameError, TypeError):  # names that are imported for type checkers alone, or of another Python
        return {}


_WORDS: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _of_type(name: str, value: object, annotation: Any) -> None:
    """Raise unless a value, and each item of it, is of an annotated type."""
    several = isinstance(annotation, UnionType) or get_origin(annotation) is Union
    members = [member for member in (get_args(annotation) if several else [annotation]) if _is_of(value, member)]
    if not members:
        types = _WORDS.get(annotation, re.sub(r"\w+\.", "", inspect.formatannotation(annotation)))
        raise ValueError(f"{name} must be {types}, got {in_words(value)}")
    if get_origin(members[0]) is Mapping and isinstance(value, Mapping):
        for key, item in value.items():
            _of_type(f"each name of {name}", key, get_args(members[0])[0])
            _of_type(f"{name}.{key}", item, get_args(members[0])[1])
    elif get_origin(members[0]) is Sequence and isinstance(value, Sequence):
        for number, item in enumerate(value):
            _of_type(f"{name}[{number}]", item, get_args(members[0])[0])


def _is_of(value: object, annotation: Any) -> bool:
    """Return whether a value is of an annotation without unions; a protocol is a function, or an object to call."""
    base = get_origin(annotation) or annotation
    if base is Callable or getattr(base, "_is_protocol", False):
        return callable(value) and not inspect.isclass(value)
    if base in (int, float):
        return isinstance(value, Integral if base is int else Real) and not isinstance(value, bool)
    if base is Sequence and isinstance(value, str):
        return False
    return base is Any or not inspect.isclass(base) or isinstance(value, base)


def positive_int(name: str, value: object, most: int = MOST_COUNT) -> int:
    """Return `value` if it is a whole number above zero, of at most `most`."""
    return count(name, value, most, least=1)


def bounded(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is a whole number from `low` to `high`."""
    if (number := _whole(value)) is None or not low <= number <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}.")
    return number


def count(name: str, value: object, most: int = MOST_COUNT, least: int = 0) -> int:
    """Return `value` if it is a whole number of at least `least`, of at most `most`."""
    if (number := _whole(value)) is None or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    if number > most:
        raise ValueError(f"{name} must be at most {most:,}, got {number:,}.")
    return number


def _whole(value: object) -> int | None:
    """A whole number, also one of NumPy, as int; nothing for what is none."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def seed(value: object) -> int:
    """Return `value` if it is a seed: a whole number of at least zero, below 2 ** 63."""
    return count("seed", value, 2**63 - 1)


def at_least(name: str, value: float, low: float, remedy: str = "") -> float:
    """Return `value` if it is a finite number of at least `low`."""
    if not _is_number(value) or value < low:
        raise ValueError(f"{name} must be at least {low:g}, got {value!r}.{remedy and ' ' + remedy}")
    return value


def names(name: str, value: Sequence[str]) -> tuple[str, ...]:
    """Return `value` if it is a list of names."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of names, got {in_words(value)}")
    return tuple(value)


def nonempty(name: str, value: _T) -> _T:
    """Return a list or a mapping if it has an item."""
    if not value:
        raise ValueError(f"{name} must be at least one, got none.")
    return value


def channels(name: str, value: Sequence[int]) -> tuple[int, ...]:
    """Return `value` if it names different channels, at least one, counted from 0."""
    numbers = tuple(count(name, item) for item in value) if isinstance(value, Sequence) else ()
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must name different channels, at least one, got {value!r}.")
    return numbers


def within(name: str, value: float, low: float, high: float, remedy: str = "") -> float:
    """Return `value` as a float if it is a finite number in [low, high]."""
    if not _is_number(value) or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r}.{remedy and ' ' + remedy}")
    return float(value)


def choice(name: str, value: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; otherwise the error names the nearest one."""
    legal = list(options)
    if value not in legal:
        raise ValueError(f"{name} must be one of {listed(legal)}, got {value!r}.{suggestion(value, legal)}")
    return value


def listed(names: Sequence[str], most: int = 24) -> str:
    """Join the first names of a list, with the number of those left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def nearest(name: str, options: Iterable[str]) -> list[str]:
    """Options that `name` was probably meant to be, nearest first, at most three."""
    return difflib.get_close_matches(name, list(options), n=3, cutoff=0.6)


def suggestion(name: str, options: Iterable[str]) -> str:
    """Sentence with the nearest options, starting with a space; empty if none is near."""
    near = nearest(str(name), options)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def unknown_key(where: str, key: str, legal: Iterable[str], elsewhere: Sequence[str] = ()) -> str:
    """Suggest a replacement for an unknown key: the nearest one, those of `elsewhere`, or else all legal keys."""
    legal = list(legal)
    near = nearest(key, legal) or elsewhere
    meant = f"Did you mean {' or '.join(near)}?" if near else f"Its keys are: {', '.join(legal) or 'none'}."
    return f"{where} has no key {key!r}. {meant}"


def same_shape(**tensors: Tensor) -> None:
    """Raise unless all tensors have one shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{' and '.join(shapes)} must have the same shape, got {got}.")


def dense(name: str, tensor: Tensor) -> Tensor:
    """Return `tensor` if it is neither sparse nor nested."""
    import torch

    if tensor.layout != torch.strided or tensor.is_nested:
        got, remedy = f"{tensor.layout}", "Convert it: to_dense()."
        if tensor.is_nested:
            got, remedy = "a nested one", "Stack tensors of one shape: torch.stack(tensors)."
        raise ValueError(f"{name} must be a dense tensor, got {got}. {remedy}")
    return tensor


_BY_BITS = "Bring it to [0, 1] by its white level: image.float() / 255 for 8 bits, / 4095 for 12 bits, / 65535 for 16."


def image_batch(
    image: Tensor, name: str = "image", remedy: str = "Normalise inside the classifier (mean, std), not in the dataset."
) -> Tensor:
    """Return `image` if it is float, shape (B, C, H, W) with no empty axis, with values in [0, 1]."""
    import torch

    if not isinstance(image, torch.Tensor):
        convert = "Convert it: dovision.to_batch(image)." if type(image).__module__.startswith("PIL.") else ""
        raise ValueError(
            f"{name} must be a tensor of shape (B, C, H, W), got {in_words(image)}{convert and ' ' + convert}"
        )
    dense(name, image)
    if image.ndim != 4 or not image.is_floating_point():
        convert = "Give it an axis of images: image.unsqueeze(0)." if image.ndim == 3 else ""
        if not image.is_floating_point():
            convert = _BY_BITS
        got = f"{image.dtype} of shape {tuple(image.shape)}"
        raise ValueError(f"{name} must be float of shape (B, C, H, W), got {got}.{convert and ' ' + convert}")
    if not image.numel():
        raise ValueError(f"{name} must hold at least one image of at least one pixel, got shape {tuple(image.shape)}.")
    low, high = torch.stack(torch.aminmax(image.detach())).tolist()
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        if low >= 0 and high > 2:
            remedy = _BY_BITS
        if math.isnan(low):
            remedy = "Some of its pixels are no numbers."
        raise ValueError(f"{name} must lie in [0, 1], got [{low:.2f}, {high:.2f}]. {remedy}")
    return image


def network_image(image: Tensor, like: Tensor, channels: int) -> None:
    """Raise unless images have the type and device of a network's tensor `like`, and its channels, or one."""
    for name, wanted, got in (("type", like.dtype, image.dtype), ("device", like.device, image.device)):
        if wanted != got:
            raise ValueError(f"image must have the network's {name}, {wanted}, got {got}. Convert it: image.to(...).")
    if channels > 1 and image.shape[1] not in (1, channels):
        raise ValueError(f"image must have the {channels} channels of mean and std, or one, got {image.shape[1]}.")


def maps(explainer: str, maps: Tensor, images: int) -> None:
    """Raise unless an explainer of this name has returned one map an image."""
    if maps.ndim != 3 or len(maps) != images:
        raise RuntimeError(
            f"{explainer} must return one map an image, shape (B, h, w), got shape {tuple(maps.shape)}. "
            "This is a fault of the explainer."
        )


def pixel_units(name: str, value: float | Iterable[float]) -> tuple[float, ...]:
    """Read one number in [0, 1], or one a channel."""
    try:
        numbers = tuple(float(number) for number in (value if isinstance(value, Iterable) else (value,)))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or isinstance(value, (str, bool)) or not all(0 <= number <= 1 for number in numbers):
        raise ValueError(
            f"{name} must be in [0, 1], one number or one a channel, got {value!r}. "
            "White is 1: divide what is meant for 8-bit pixels by 255."
        )
    return numbers


def labels(
    label: Tensor, images: int, classes: int, multilabel: bool, name: str = "label", unknown: bool = False
) -> Tensor:
    """Return `label` if it holds class numbers, shape (B,) int64, or, for multilabel, answers, shape (B, K).

    With `unknown`, the number may be -1, for an image without a label.
    """
    import torch

    shape = (images, classes) if multilabel else (images,)
    rule = f"of shape {shape} for a multilabel task" if multilabel else f"int64 of shape {shape}"
    if not isinstance(label, torch.Tensor):
        raise ValueError(f"{name} must be a tensor, {rule}, got {in_words(label)}")
    dense(name, label)
    if tuple(label.shape) != shape or (label.dtype != torch.int64 and not multilabel):
        raise ValueError(f"{name} must be {rule}, got {label.dtype} of shape {tuple(label.shape)}.")
    least = -1 if unknown and not multilabel else 0
    answer = label.nan_to_num()
    outside = (label < least) | (label > (1 if multilabel else classes - 1)) | (answer != answer.long())
    if outside.any():
        legal = "0, 1 or, where it is not known, nan" if multilabel else f"the number of a class, 0 to {classes - 1}"
        legal += ", or -1 where it is not known" if least < 0 else ""
        raise ValueError(f"{name} must be {legal}, got {label[outside][0].item():g}.")
    return label


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a library that is installed as an extra of this package.

    Raises:
        ImportError: it is not installed; the error says how to.
    """
    try:
        with warnings.catch_warnings():  # torchxrayvision would silence the warnings of all libraries
            return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this component needs {module} ({error}). Install it: {install_command(extra)}.") from error


def install_command(extra: str) -> str:
    """Command that installs the libraries of an extra, by name and version, in any folder."""
    requirements = importlib.metadata.requires("dovision") or []
    of_extra = [entry.partition(";")[0] for entry in requirements if re.search(f"extra == .{extra}.$", entry)]
    return " ".join(["pip install", *(f"'{requirement}'" for requirement in of_extra)])


def fit_rows(name: str, clean: Tensor, attacked: Tensor, supervised: bool) -> None:
    """Raise unless a detector can be fitted to features of so many images, shapes (N, F) and (M, F)."""
    if not supervised and len(attacked):
        raise ValueError(
            f"{name} is fitted to clean images only, got {len(attacked)} attacked ones. "
            "Leave them out, or choose a supervised detector."
        )
    if supervised and clean.shape[1:] != attacked.shape[1:]:
        got = f"{tuple(clean.shape[1:])} and {tuple(attacked.shape[1:])}"
        raise ValueError(f"{name} needs the same features of clean and attacked images, got {got}.")
    for condition, rows in (("clean", clean), ("attacked", attacked))[: 1 + supervised]:
        if len(rows) < 2:
            raise ValueError(f"{name} is fitted to at least 2 {condition} images, got {len(rows)}.")
        bad = ~rows.isfinite()
        if bad.any():
            features = bad.any(0).nonzero().flatten().tolist()
            raise ValueError(
                f"features that {name} is fitted to must be finite, got nan or infinity in {int(bad.any(1).sum())} of "
                f"{len(rows)} {condition} images, in feature {listed(list(map(str, features)), 5)} of 0 to "
                f"{rows.shape[1] - 1}."
            )


def number(name: str, value: float | str) -> float:
    """Read a finite number or a fraction written as "8/255"."""
    numbers = str(value).split("/")
    try:
        result = float(numbers[0]) / float(numbers[1]) if len(numbers) == 2 else float(value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
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
        ValueError: there is none, or one is negative, above 1 under Linf, or given twice.
    """
    listed = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    if not listed:
        raise ValueError(
            "eps must name at least one value, got []. To measure clean images alone, leave the attack out."
        )
    parsed = tuple(number("eps", item) for item in listed)
    for eps in parsed:
        if eps < 0 or (norm == "linf" and eps > 1):
            rule = "in [0, 1] pixel units" if norm == "linf" else "at least 0, in pixel units"
            raise ValueError(f'eps must be {rule}, got {eps:g}. For 8-bit steps write a fraction such as "8/255".')
    if len(set(parsed)) < len(parsed):
        raise ValueError(f"eps must name each value once, got {list(listed)!r}.")
    return parsed


def plain_value(name: str, value: object) -> object:
    """Return `value` if it is made of dict, list, str, int, float, bool and None only."""
    if isinstance(value, Mapping):
        return {str(key): plain_value(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{name} must be made of plain types, got {type(value).__name__}.")


def bullet_lines(items: Sequence[str], most: int = 20) -> str:
    """The first items of a list, each in a line of its own, and how many more there are; starts with a line break."""
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return "".join(f"\n  {item}" for item in [*items[:most], *more])


def mask(name: str, value: _T, size: Sequence[int]) -> _T:
    """Return `value` if it is an array of NumPy, bool, of this height and width."""
    if not isinstance(value, np.ndarray) or value.dtype != bool or value.shape != tuple(size):
        got = getattr(value, "dtype", ""), tuple(getattr(value, "shape", ()))
        raise ValueError(
            f"{name} must be a NumPy array of bool, shape {tuple(size)}, got {type(value).__name__} {got[0]} {got[1]}."
        )
    return value


def none_wrong(name: str, errors: Sequence[str], count: int) -> None:
    """Raise a single error unchanged, or one error that lists the first of several among `count` values."""
    if errors:
        several = f"{len(errors)} of {count} {name} are wrong:{bullet_lines(errors, 5)}"
        raise ValueError(several if len(errors) > 1 else errors[0])


def _is_number(value: object) -> bool:
    most = sys.float_info.max  # of whole numbers, too, which may be larger
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= most
