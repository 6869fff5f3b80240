"""Files of masks of a table's images, checked row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dovision import checks
from dovision.datasets.readers.manifest import Manifest
from dovision.datasets.readers.table_rows import NAME
from dovision.functional import geometry
from dovision.io import files, images
from dovision.io.mask_files import ANY, mask_file, mask_numbers, mask_pattern, read_mask_file
from dovision.types import Shape

_UPRIGHT = (
    "images are read as their EXIF orientation shows them. Save the mask upright, or the image without EXIF data."
)
_SKIP = "Leave such images without masks with dataset.masks.missing=skip."

_BY_NAME = "mask"  # the column that errors name where masks are found by the names of their images

ErrorText = Callable[[str, int, str, str], str]  # of a column, the place of a row, the rule and the remedy


class MaskSource(NamedTuple):
    """A file of masks for each image, and the masks that it holds."""

    paths: Sequence[str]  # one an image; empty where it has none
    column: str  # that names them, for errors
    numbers: Mapping[str, int]  # of each mask in a label map, by name; see `io.mask_files.mask_numbers`


class MaskSettings(NamedTuple):
    """Where masks of known objects lie."""

    folder: str | None = None  # below the root, with a file for each image; None: the paths are in the manifest
    files: str = "{stem}.png"  # name of an image's file there, see `io.mask_files.mask_file`
    units: Mapping[str, int] | Sequence[str] | None = None  # see `io.mask_files.mask_numbers`
    missing: str = "error"  # or skip: images without a file, or without a pixel of a mask, have no mask


def mask_sources(
    manifest: Manifest, column: str | Mapping[str, str] | None, settings: MaskSettings, root: Path
) -> list[MaskSource]:
    """The files of masks of each row, found by the images' names if there is a folder of them, else in the rows.

    Raises:
        FileNotFoundError: the folder of masks is not there.
        ValueError: a file is missing, though `missing` is error; the message names its row.
    """
    if settings.folder is not None:
        return masks_by_name(manifest.cells[NAME], settings, root, manifest.error)
    if column is None:
        return []
    of_columns = {column: ""} if isinstance(column, str) else {own: str(name) for name, own in column.items()}
    sources = []
    for own, name in of_columns.items():
        paths = [str(root / cell) if cell else "" for cell in manifest.cells[own]]
        arrays_only = all(path.endswith(".npz") for path in paths if path)
        numbers = {name: ANY} if name else mask_numbers(settings.units, arrays_only)
        sources.append(_there(MaskSource(paths, own, numbers), settings.missing, manifest.error))
    return sources


def masks_by_name(
    names: Sequence[str], settings: MaskSettings, root: Path, error: ErrorText | None = None
) -> list[MaskSource]:
    """The files of masks in a folder, by the names of the images; errors as those of `mask_sources`."""
    if settings.folder is None:
        return []
    folder, pattern = root / settings.folder, mask_pattern(settings.files)
    if not folder.is_dir():
        raise FileNotFoundError(f"masks.folder must be a folder of masks, but {folder} is not one.")
    paths = [str(folder / mask_file(pattern, name.partition("#")[0])) for name in names]
    source = MaskSource(paths, _BY_NAME, mask_numbers(settings.units, pattern.endswith(".npz")))
    return [_there(source, settings.missing, error or error_by_name(names))]


def error_by_name(names: Sequence[str]) -> ErrorText:
    """Errors that name an image, where there are no rows."""
    own = list(names)
    return lambda column, place, rule, remedy: f"{column} of {own[place]} must be {rule}. {remedy}"


def _there(source: MaskSource, missing: str, error: ErrorText) -> MaskSource:
    """The source without the files that are missing, if these may be."""
    skip = checks.choice("masks.missing", missing, ("error", "skip")) == "skip"
    there = [bool(path) and Path(path).is_file() for path in source.paths]
    lacking = [bool(path) and not found for path, found in zip(source.paths, there, strict=True)]
    if any(lacking) and (not skip or not any(there)):
        place = lacking.index(True)
        more = f" {sum(lacking) - 1:,} more are missing." if sum(lacking) > 1 else ""
        raise ValueError(
            error(source.column, place, "a file that is there", f"There is no {source.paths[place]}.{more} {_SKIP}")
        )
    return source._replace(paths=[path if found else "" for path, found in zip(source.paths, there, strict=True)])


def check_masks(
    sources: Sequence[MaskSource],
    sizes: Sequence[tuple[int, int]],
    shape: Shape,
    skip: bool,
    decode: bool,
    error_text: ErrorText,
) -> None:
    """Refuse masks of another aspect than their images and, if they are decoded, damaged and empty ones.

    Args:
        sources: files of masks, for each image.
        sizes: height and width of each image.
        shape: that images are brought to.
        skip: whether a mask may be empty.
        decode: whether masks are read to their end, not their size alone.
        error_text: makes the message about an image's mask.

    Raises:
        ValueError: a mask is wrong; the message names its row.
    """
    for source in sources:
        for place, path in enumerate(source.paths):
            if not path:
                continue
            try:
                size, empty = _looked_at(Path(path), source.numbers, decode)
            except ValueError as error:
                raise ValueError(error_text(source.column, place, "a file of masks", str(error))) from error
            if not geometry.mask_fits(size, sizes[place], shape):
                height, width = sizes[place]
                remedy = f"{path} has {size[0]} x {size[1]}. Save the mask as it lies on the whole image."
                if geometry.mask_fits(size, (width, height), shape):
                    remedy = f"{path} has {size[0]} x {size[1]}, those of the image lying on its side: {_UPRIGHT}"
                rule = f"of its image's aspect, {height} x {width} pixels"
                raise ValueError(error_text(source.column, place, rule, remedy))
            if empty and not skip:
                units = "" if len(source.numbers) == 1 else f" of {' or '.join(source.numbers)}"
                rule, remedy = f"a mask with at least one pixel{units}", f"{path} is empty. {_SKIP}"
                raise ValueError(error_text(source.column, place, rule, remedy))


def _looked_at(path: Path, numbers: Mapping[str, int], decode: bool) -> tuple[tuple[int, int], bool]:
    """Height and width of a file's masks, and whether all are empty."""
    if decode or path.suffix == ".npz":
        masks = read_mask_file(path, numbers)
        return next(iter(masks.values())).shape, not any(mask.any() for mask in masks.values())
    return images.upright_size(files.read_bytes(path, images.MAX_FILE_BYTES)), False
