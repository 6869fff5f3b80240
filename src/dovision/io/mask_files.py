"""Masks in files: label maps as images, or bool arrays in an .npz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from dovision.io import arrays
from dovision.io.images import BadFile, open_image

ANY = -1  # stands for all numbers of a label map but 0
_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".npz")  # without loss: a JPEG blurs the numbers of a label map
_FIELDS = ("stem", "folder", "name")  # of an image's name, in the pattern of a mask file's name


def mask_pattern(files: str) -> str:
    """Return a pattern of mask files' names if it is one.

    Raises:
        ValueError: it has other fields than {stem}, {folder} and {name}, or another suffix.
    """
    try:
        example = files.format(stem="a", folder="b", name="b/a.png")
    except (AttributeError, KeyError, IndexError, ValueError):
        example = ""
    if not example.endswith(_SUFFIXES):
        raise ValueError(
            f"files must be a pattern of {', '.join(f'{{{field}}}' for field in _FIELDS)} that ends in "
            f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}, got {files!r}."
        )
    return files


def mask_file(pattern: str, name: str) -> str:
    """Name of the mask file of an image: {stem}, {folder} and {name} are those of the image's name."""
    own = PurePosixPath(name)
    return pattern.format(stem=own.stem, folder=own.parent, name=name)


def mask_numbers(units: Mapping[str, int] | Sequence[str] | None, arrays_only: bool) -> dict[str, int]:
    """The number of each mask in a label map, or ANY; of no meaning where arrays have names.

    Args:
        units: names with their numbers; names alone if `arrays_only`; None is one mask, of all that is not 0.
        arrays_only: whether all files are .npz.

    Raises:
        ValueError: there is none, or a name has no number where one is needed.
    """
    if units is None:
        return {"mask": ANY}
    if isinstance(units, Mapping):
        numbers = {str(name): _number(str(name), number) for name, number in units.items()}
    elif arrays_only and not isinstance(units, str):
        numbers = dict.fromkeys(map(str, units), ANY)
    else:
        raise ValueError(f"units must give each mask's number in a label map, such as {{lung: 255}}, got {units!r}.")
    if not numbers:
        raise ValueError("units must name at least one mask, got none.")
    return numbers


def read_mask_file(path: Path, numbers: Mapping[str, int]) -> dict[str, npt.NDArray[np.bool_]]:
    """The masks of a file as they are, shape (h, w), by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind, or has no array of a name.
    """
    if path.suffix == ".npz":
        return {name: arrays.member(path, name, bool, (None, None)) for name in numbers}
    try:
        labels = np.asarray(open_image(path))
    except BadFile as error:
        raise ValueError(f"{path} must be a whole image, but is {error}.") from error
    if labels.ndim != 2:
        raise ValueError(f"{path} must be a label map, one number a pixel, got {labels.shape[2]} channels.")
    return {name: labels != 0 if number == ANY else labels == number for name, number in numbers.items()}


def _number(name: str, number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"units.{name} must be a whole number of at least 0, got {number!r}.")
    return number
