"""Masks in files: label maps as images, or bool arrays in an .npz."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from dovision.io import files
from dovision.io.images import PIXELS, BadFile, open_image, upright

MaskNumbers = npt.NDArray[np.generic]  # a number a pixel, shape (h, w)
ANY = -1  # stands for all numbers of a label map but 0
ARRAYS = ".npz"
_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ARRAYS)  # without loss: a JPEG blurs the numbers of a label map
_FIELDS = ("stem", "folder", "name", "slice")  # of an image's name, in the pattern of a mask file's name
_DISTINCT = re.compile(r"\{(stem|name|slice)\b")  # a field in which images of one folder differ
_SLICE = re.compile(r"(.*)#(\d+)", re.DOTALL)  # the name of a volume's slice, or of a frame
_BLACK = (0, 0, 0)
_HEADER_BYTES = 128  # of an array as NumPy writes it


def mask_pattern(files: str, further: Sequence[str] = ()) -> str:
    """Return a valid pattern of mask file names.

    Args:
        files: with the fields {stem}, {folder}, {name} and {slice}, see `mask_file`.
        further: suffixes that it may have besides those of images without loss, and of arrays.

    Raises:
        ValueError: it has other fields, or another suffix.
    """
    suffixes = (*_SUFFIXES, *further)
    try:
        example = files.format(stem="a", folder="b", name="b/a.png", slice=0)
    except (AttributeError, KeyError, IndexError, ValueError):
        example = ""
    if not example.lower().endswith(suffixes):
        raise ValueError(
            f"files must be a pattern of {', '.join(f'{{{field}}}' for field in _FIELDS)} that ends in "
            f"{', '.join(suffixes[:-1])} or {suffixes[-1]}, got {files!r}."
        )
    return files


def mask_file(pattern: str, name: str) -> str:
    """Name of an image's mask file; {stem}, {folder} and {name} are parts of the image's path.

    {slice} is the number of a volume's slice or of a frame, and 0 for other images.
    """
    sliced = _SLICE.fullmatch(name)
    file, number = (name, "0") if sliced is None else sliced.groups()
    image = PurePosixPath(file)
    stem = image.name[: -len(".nii.gz")] if image.name.lower().endswith(".nii.gz") else image.stem
    return pattern.format(stem=stem, folder=image.parent, name=file, slice=int(number))


def check_distinct(pattern: str, names: Sequence[str], files: Iterable[object]) -> None:
    """Raise if two images share a mask file, such as images of one name in two folders with "{stem}.png".

    A pattern of no image's own name, such as "{folder}/mask.png", means one file for all images of a folder.

    Raises:
        ValueError: two images have one file.
    """
    if _DISTINCT.search(pattern) is None:
        return
    first: dict[object, str] = {}
    for name, file in zip(names, files, strict=True):
        if file is not None and first.setdefault(file, name) != name:
            raise ValueError(
                f"each image must have a mask file of its own, but {first[file]} and {name} both have {file}. Set "
                'files, such as "{folder}/{stem}.png", or "{stem}_{slice}.png" for the slices of a volume.'
            )


def mask_numbers(units: Mapping[str, int] | Sequence[str] | None, arrays_only: bool) -> dict[str, int]:
    """Number of each mask in a label map, or ANY; unused where arrays have names.

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
    """Read the masks of a file at their stored size, shape (h, w), by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind, or has no array of a name.
    """
    if path.suffix.lower() == ARRAYS:
        return {name: npz_mask(path, name) for name in numbers}
    return numbered_masks(label_map(path), numbers)


def npz_mask(path: Path, name: str) -> npt.NDArray[np.bool_]:
    """Read a bool array (h, w) of an .npz file, and verify its checksum; errors as of `read_mask_file`."""
    with files.open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
                if (size := archive.getinfo(f"{name}.npy").file_size) > PIXELS + _HEADER_BYTES:
                    raise ValueError(f"its {size:,} bytes are more than the {PIXELS:,} of the largest image")
                mask: npt.NDArray[np.bool_] = np.lib.format.read_array(member, allow_pickle=False)
                if mask.dtype != bool or mask.ndim != 2:
                    raise ValueError(f"it is of {mask.dtype}, shape {mask.shape}")
                if member.read(1):  # at the end the checksum is compared
                    raise ValueError("it has more bytes than its header says")
        except Exception as error:  # a damaged archive raises whatever its bytes lead to
            reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
            raise ValueError(f"{path} must be an .npz file with the bool array {name} (h, w): {reason}.") from error
    return mask


def numbered_masks(labels: MaskNumbers, numbers: Mapping[str, int]) -> dict[str, npt.NDArray[np.bool_]]:
    """The masks of a label map, by name."""
    return {name: labels != 0 if number == ANY else labels == number for name, number in numbers.items()}


def label_map(path: Path) -> MaskNumbers:
    """Pixel numbers of an image, also of palette images, after the EXIF orientation.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, has several channels or a lossy compression, or a palette that shows 0 as the object.
    """
    try:
        image = open_image(path)
        labels = np.asarray(upright(image))
    except BadFile as error:
        raise ValueError(f"{path} must be a whole image, but is {error}.") from error
    if labels.ndim != 2:
        raise ValueError(
            f"{path} must be a label map, one number a pixel, got {labels.shape[2]} channels. Save one of them as "
            "greyscale."
        )
    if image.format in ("JPEG", "MPO"):
        raise ValueError(
            f"{path} must be a label map without loss, such as PNG, got JPEG, which blurs the numbers around each "
            "edge. Set a threshold, and save what is above it as PNG."
        )
    _check_palette(path, image, labels)
    return labels


def _check_palette(path: Path, image: Image.Image, labels: MaskNumbers) -> None:
    """Raise if a palette shows 0, the background, in colour and another number in black."""
    colours = image.getpalette() if image.mode == "P" else None
    if not colours:
        return
    shown = {number: tuple(colours[3 * number : 3 * number + 3]) for number in np.unique(labels).tolist()}
    black = [number for number, colour in shown.items() if number and colour == _BLACK]
    if black and shown.get(0, _BLACK) != _BLACK:
        raise ValueError(
            f"{path} must be a label map in which 0 is the background, but its palette shows {black[0]} in black, and "
            "0 in a colour. Save it as greyscale."
        )


def _number(name: str, number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"units.{name} must be a whole number of at least 0, got {number!r}.")
    return number
