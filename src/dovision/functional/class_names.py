"""Names of classes that mean the same: equal, or of one number of ImageNet (wnid), such as n01440764."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec

from dovision import checks

_WNID = re.compile(r"n\d{8}")
_COUNT = 1000  # of ImageNet's classes
_SHARE = 0.9  # of a list's names that are ImageNet's at their positions, from which on it is ImageNet's list


def class_positions(classes: Sequence[str], names: Sequence[str]) -> list[int | None]:
    """Place of each class among names, by its name; None where none means the same.

    Where some class is not among the names, classes and names meet by ImageNet's numbers: that in a name, as of
    n01440764 or crane (n02012849), or that of its position in a list of ImageNet's 1,000 names, or else the one class
    that timm's list calls so. Without timm only numbers that are written in names are known.

    Example:
        >>> class_positions(["dog", "owl"], ["cat", "dog"])
        [1, None]
        >>> class_positions(["n02012849"], ["crane (n03126707)", "crane (n02012849)"])
        [1]
    """
    counts = Counter(names)
    positions = {name: position for position, name in enumerate(names) if counts[name] == 1}
    whole = len(classes) == len(names) == _COUNT and list(classes) != list(names)  # crane may be the other crane
    if whole or not all(name in positions for name in classes):
        of_numbers = {number: position for position, number in enumerate(_wnids(names)) if number}
        numbers = dict(zip(classes, _wnids(classes), strict=True))
        met = {name: of_numbers[number] for name, number in numbers.items() if number in of_numbers}
        positions = positions | met if whole else met | positions
    return [positions.get(name) for name in classes]


def _wnids(names: Sequence[str]) -> list[str]:
    """Number of each name; empty where it has none."""
    numbers, words = _imagenet()
    spelled = [name.replace("_", " ") for name in names]
    at_position = [name in of_class for name, of_class in zip(spelled, words, strict=False)]
    if len(names) == len(numbers) and sum(at_position) > _SHARE * len(names):
        return numbers
    calls: Counter[str] = Counter(word for of_class in words for word in of_class)
    number_of = {word: number for number, of_class in zip(numbers, words, strict=True) for word in of_class}
    written = [_WNID.search(name) for name in names]
    return [
        match[0] if match else number_of[name] if calls[name] == 1 else ""
        for match, name in zip(written, spelled, strict=True)
    ]


@functools.cache
def _imagenet() -> tuple[list[str], list[set[str]]]:
    """Numbers of ImageNet's 1,000 classes in the order of outputs, and all names of each, as timm lists them."""
    if find_spec("timm") is None:
        return [], []
    info = checks.import_extra("timm.data", "timm").ImageNetInfo("imagenet-1k")
    words = [info.index_to_description(position) for position in range(info.num_classes())]
    return info.label_names(), [{*of_class.split(", "), of_class} for of_class in words]
