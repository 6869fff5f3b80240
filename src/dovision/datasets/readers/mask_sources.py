"""Files of masks of a table's images, checked row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dovision import checks
from dovision.datasets.readers.file_images import MaskSource
from dovision.datasets.readers.manifest import Manifest
from dovision.datasets.readers.table_rows import NAME
from dovision.functional import geometry
from dovision.io import files, images
from dovision.io.mask_files import ANY, mask_file, mask_numbers, mask_pattern, read_mask_file
from dovision.types import Shape

_SKIP = "Leave such images without masks with dataset.masks.missing=skip."


_BY_NAME = "mask"  # stands in errors for the column, where files are found by their names


class MaskSettings(NamedTuple):
    """Where masks of known objects lie."""

    folder: str | None = None  # below the root, with a file for each image; None: the paths are in the manifest
    files: str = "{stem}.png"  # name of an image's file there, see `io.mask_files.mask_file`
    units: Mapping[str, int] | Sequence[str] | None = None  # see `io.mask_files.mask_numbers`
    missing: str = "error"  # or skip: images without a file, or without a pixel of a mask, have no mask


def mask_sources(
    manifest: Manifest, column: str | Mapping[str, str] | None, settings: MaskSettings, root: Path
) -> list[MaskSource]:
    """The files of masks of each row.

    Raises:
        FileNotFoundError: the folder of masks is not there.
        ValueError: a file is missing, though `missing` is error; the message names its row.
    """
    cells, skip = manifest.cells, checks.choice("masks.missing", settings.missing, ("error", "skip")) == "skip"
    if settings.folder is not None:
        folder, pattern = root / settings.folder, mask_pattern(settings.files)
        if not folder.is_dir():
            raise FileNotFoundError(f"masks.folder must be a folder of masks, but {folder} is not one.")
        paths = [str(folder / mask_file(pattern, name.partition("#")[0])) for name in cells[NAME]]
        columns = {_BY_NAME: (paths, mask_numbers(settings.units, pattern.endswith(".npz")))}
    elif isinstance(column, Mapping):
        columns = {own: (_below(root, cells[own]), {str(name): ANY}) for name, own in column.items()}
    elif column is not None:
        paths = _below(root, cells[column])
        columns = {column: (paths, mask_numbers(settings.units, all(path.endswith(".npz") for path in paths if path)))}
    else:
        return []
    sources = []
    for own, (paths, numbers) in columns.items():
        there = [bool(path) and Path(path).is_file() for path in paths]
        lacking = [bool(path) and not found for path, found in zip(paths, there, strict=True)]
        if any(lacking) and (not skip or not any(there)):
            place = lacking.index(True)
            remedy = f"There is no {paths[place]}. {_SKIP}"
            raise ValueError(manifest.error(own, place, "a file that is there", remedy, sum(lacking) - 1))
        whole = [path if found else "" for path, found in zip(paths, there, strict=True)]
        sources.append(MaskSource(whole, own, numbers))
    return sources


def check_masks(
    manifest: Manifest,
    sources: Sequence[MaskSource],
    sizes: Sequence[tuple[int, int]],
    shape: Shape,
    skip: bool,
    decode: bool,
) -> None:
    """Refuse masks of another aspect than their images and, if they are decoded, damaged and empty ones.

    Args:
        manifest: the rows.
        sources: files of masks, for each row.
        sizes: height and width of each row's image.
        shape: that images are brought to.
        skip: whether a mask may be empty.
        decode: whether masks are read to their end, not their size alone.

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
                raise ValueError(manifest.error(source.column, place, "a file of masks", str(error))) from error
            if not geometry.mask_fits(size, sizes[place], shape):
                height, width = sizes[place]
                remedy = f"{path} has {size[0]} x {size[1]}. Save the mask as it lies on the whole image."
                rule = f"of its image's aspect, {height} x {width} pixels"
                raise ValueError(manifest.error(source.column, place, rule, remedy))
            if empty and not skip:
                rule, remedy = f"a mask with a pixel of {' or '.join(source.numbers)}", f"{path} is empty. {_SKIP}"
                raise ValueError(manifest.error(source.column, place, rule, remedy))


def _looked_at(path: Path, numbers: Mapping[str, int], decode: bool) -> tuple[tuple[int, int], bool]:
    """Height and width of a file's masks, and whether all are empty."""
    if decode or path.suffix == ".npz":
        masks = read_mask_file(path, numbers)
        return next(iter(masks.values())).shape, not any(mask.any() for mask in masks.values())
    return images.upright_size(files.read_bytes(path, images.MAX_FILE_BYTES)), False


def _below(root: Path, cells: Sequence[str]) -> list[str]:
    return [str(root / cell) if cell else "" for cell in cells]
