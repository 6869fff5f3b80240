"""Files of masks of a table's images, checked row by row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dovision import checks
from dovision.datasets.readers import nifti
from dovision.datasets.readers.manifest import Manifest
from dovision.datasets.readers.table_rows import NAME
from dovision.functional import geometry
from dovision.io import images, mask_files
from dovision.io.paths import outside
from dovision.types import Mask, Shape

log = logging.getLogger(__name__)
_UPRIGHT = "images and masks are read as their EXIF orientation has it. Save the mask upright, or the image without it."
_WHOLE = "Save the mask as it lies on the whole image."
_SKIP = "Leave such images without masks with dataset.masks.missing=skip."
_NAMES = "Set dataset.masks.folder, and dataset.masks.files, the pattern of their names."

_BY_NAME = "mask"  # the column that errors name where masks are found by the names of their images

ErrorText = Callable[[str, int, str, str], str]  # of a column, the place of a row, the rule and the remedy


class MaskSource(NamedTuple):
    """File of masks of an image, and the names of its masks."""

    paths: Sequence[str]  # one an image; empty where it has none
    column: str  # that names them, for errors
    numbers: Mapping[str, int]  # of each mask in a label map, by name; see `io.mask_files.mask_numbers`
    slices: Sequence[int | None] = ()  # of each image that of its NIfTI volume, which is that of its mask, too
    plane: str = "axial"  # of slices

    def read(self, row: int) -> dict[str, Mask]:
        """Read the masks of an image's file at their size, shape (h, w), by name.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, of another kind, or has no array of a name.
        """
        path = Path(self.paths[row])
        if not nifti.is_nifti(path.name):
            return mask_files.read_mask_file(path, self.numbers)
        return mask_files.numbered_masks(self.labels(row), self.numbers)

    def labels(self, row: int) -> mask_files.MaskNumbers:
        """Read an image's label map, shape (h, w); errors as those of `read`."""
        path = Path(self.paths[row])
        if not nifti.is_nifti(path.name):
            return mask_files.label_map(path)
        try:
            return nifti.slice_values(path, self.slices[row], self.plane)[0]
        except images.BadFile as error:
            raise ValueError(f"{path} must be a label map, but is {error}.") from error


class MaskSettings(NamedTuple):
    """Settings of the masks of known objects: folder, pattern, names."""

    folder: str | None = None  # below the root, with a file for each image; None: the paths are in the manifest
    files: str = "{stem}.png"  # name of an image's file there, see `io.mask_files.mask_file`
    units: Mapping[str, int] | Sequence[str] | None = None  # see `io.mask_files.mask_numbers`
    missing: str = "error"  # or skip: images without a file, or without a pixel of a mask, have no mask


def mask_sources(
    manifest: Manifest, columns: str | Mapping[str, str] | None, settings: MaskSettings, root: Path
) -> list[MaskSource]:
    """Locate the files of masks of each row: by the images' names if there is a folder of them, else in the rows.

    Raises:
        FileNotFoundError: the folder of masks is not there.
        ValueError: a file is missing, though `missing` is error; the message names its row.
    """
    if settings.folder is not None:
        return masks_by_name(manifest.cells[NAME], settings, root, manifest.error)
    if columns is None:
        return []
    of_columns = {columns: ""} if isinstance(columns, str) else {column: str(name) for name, column in columns.items()}
    sources = []
    for column, name in of_columns.items():
        paths = [str(root / cell) if cell else "" for cell in manifest.cells[column]]
        arrays_only = all(path.lower().endswith(mask_files.ARRAYS) for path in paths if path)
        numbers = {name: mask_files.ANY} if name else mask_files.mask_numbers(settings.units, arrays_only)
        sources.append(_there(MaskSource(paths, column, numbers), settings.missing, root, root, manifest.error))
    return sources


def masks_by_name(names: Sequence[str], settings: MaskSettings, root: Path, error: ErrorText) -> list[MaskSource]:
    """Locate files of masks in a folder by the names of the images; errors as those of `mask_sources`.

    Raises:
        ValueError: also if two images have one file.
    """
    if settings.folder is None:
        return []
    folder = root / settings.folder
    pattern = mask_files.mask_pattern(settings.files, nifti.NIFTI_SUFFIXES)
    if not folder.is_dir():
        raise FileNotFoundError(f"masks.folder must be a folder of masks, but {folder} is not one.")
    paths = [str(folder / mask_files.mask_file(pattern, name)) for name in names]
    numbers = mask_files.mask_numbers(settings.units, pattern.lower().endswith(mask_files.ARRAYS))
    source = _there(MaskSource(paths, _BY_NAME, numbers), settings.missing, root, folder, error)
    files_of_slices = [  # of a volume of masks each slice is that of an image
        f"{path}#{name.rpartition('#')[2]}" if nifti.is_nifti(path) and "#" in name else path or None
        for name, path in zip(names, source.paths, strict=True)
    ]
    mask_files.check_distinct(pattern, list(names), files_of_slices)
    return [source]


def _there(source: MaskSource, missing: str, root: Path, folder: Path, error: ErrorText) -> MaskSource:
    """Drop missing files from a source if they may be missing; none may lie outside the root and the folder."""
    wrong = outside(source.paths, (root, folder))
    if any(wrong):
        row = wrong.index(True)
        remedy = f"{source.paths[row]} lies elsewhere. Copy it below the root."
        raise ValueError(error(source.column, row, f"a file below {root}", remedy))
    skip = checks.choice("masks.missing", missing, ("error", "skip")) == "skip"
    there = [bool(path) and Path(path).is_file() for path in source.paths]
    lacking = [bool(path) and not is_there for path, is_there in zip(source.paths, there, strict=True)]
    if any(lacking) and (not skip or not any(there)):
        row = lacking.index(True)
        more = f" {sum(lacking) - 1:,} more are missing." if sum(lacking) > 1 else ""
        else_set = _NAMES if source.column == _BY_NAME and not any(there) else _SKIP
        remedy = f"There is no {source.paths[row]}.{more} {else_set}"
        raise ValueError(error(source.column, row, "a file that is there", remedy))
    return source._replace(paths=[path if is_there else "" for path, is_there in zip(source.paths, there, strict=True)])


def check_masks(
    sources: Sequence[MaskSource],
    sizes: Sequence[tuple[int, int]],
    shape: Shape,
    skip: bool,
    error_text: ErrorText,
) -> None:
    """Refuse damaged masks, those of another aspect than their images, and, unless `skip`, empty ones.

    Raises:
        ValueError: masks are wrong, the message names the first rows; or all are empty.
    """
    for source in sources:
        names: set[str] = set()
        wrong: list[str] = []
        rows = [row for row, path in enumerate(source.paths) if path]
        for row in rows:
            path, (height, width) = source.paths[row], sizes[row]
            try:
                masks = source.read(row)
            except ValueError as reason:
                wrong.append(error_text(source.column, row, "a file of masks", str(reason)))
                continue
            size = next(iter(masks.values())).shape
            present = {name for name, mask in masks.items() if mask.any()}
            names |= present
            if not geometry.mask_fits(size, (height, width), shape):
                lies = geometry.mask_fits(size, (width, height), shape)
                remedy = f", those of the image lying on its side: {_UPRIGHT}" if lies else f". {_WHOLE}"
                rule = f"of its image's aspect, {height} x {width} pixels"
                wrong.append(error_text(source.column, row, rule, f"{path} has {size[0]} x {size[1]}{remedy}"))
            elif not present and not skip:
                wrong.append(error_text(source.column, row, _rule(source), f"{_numbers(source, row)} {_SKIP}"))
        checks.none_wrong("files of masks", wrong, len(rows))
        if rows and not names:
            remedy = f"All are empty. {_numbers(source, rows[0])} Set dataset.masks.units."
            raise ValueError(error_text(source.column, rows[0], _rule(source), remedy))
        for name, number in source.numbers.items():
            if rows and name not in names:
                log.warning("no file of masks has a pixel of %r, number %s: see dataset.masks.units", name, number)


def check_volumes(source: MaskSource, images: Sequence[str], error_text: ErrorText) -> None:
    """Refuse a volume of masks with another number of slices than its image's volume.

    Raises:
        ValueError: a volume is wrong; the message names the row.
    """
    count = lru_cache(nifti.slice_count)
    for row, (mask, image) in enumerate(zip(source.paths, images, strict=True)):
        if nifti.is_nifti(mask) and nifti.is_nifti(image):
            count_of_mask, wanted = (count(Path(path), source.plane) for path in (mask, image))
            if count_of_mask != wanted:
                rule = f"a volume of {wanted} {source.plane} slices, as its image is"
                raise ValueError(error_text(source.column, row, rule, f"{mask} has {count_of_mask}. Resample it."))


def _rule(source: MaskSource) -> str:
    units = "" if [*source.numbers.values()] == [mask_files.ANY] else f" of {' or '.join(source.numbers)}"
    return f"a mask with at least one pixel{units}"


def _numbers(source: MaskSource, row: int) -> str:
    """Sentence with the numbers that the file of an image has in place of those configured."""
    path = source.paths[row]
    labels = None if path.lower().endswith(mask_files.ARRAYS) else source.labels(row)
    if labels is None or not labels.any():
        return f"{path} is empty."
    return f"{path} has the numbers {checks.listed([f'{number:g}' for number in np.unique(labels).tolist()])}."
