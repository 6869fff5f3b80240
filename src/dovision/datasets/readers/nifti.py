"""Slices of NIfTI volumes, as radiologists look at them. Needs the extra `nifti`."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dovision import checks
from dovision.datasets.readers.dicom import GreyWindow, window_values
from dovision.io import archives, files
from dovision.io.images import DECODED_BYTES, BadFile

PLANES = (
    "sagittal",
    "coronal",
    "axial",
)  # a slice's normal is the patient's axis from left to right, back to front, feet to head
NIFTI_SUFFIXES = (".nii", ".nii.gz")
_SLICE_BYTES = 32  # a pixel of a slice: four arrays of float64 while it is scaled and windowed
_HEADER_BYTES = 540  # of NIfTI 2, the longer one
_NOT_FINITE = "a NIfTI volume with values that are not finite"


class _Volume(NamedTuple):
    """A volume by its header; its numbers are not read yet."""

    path: Path
    header: Any  # of nibabel, without extensions, which may claim any length
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # as stored


class _Slice(NamedTuple):
    """A slice as it lies in its volume."""

    axis: int  # of the stored array, along which slices are counted
    place: int  # of the slice there
    rows: tuple[int, bool]  # axis of the slice's array that runs up the image, and whether it must be turned around
    columns: tuple[int, bool]
    size: tuple[int, int]  # height and width


def is_nifti(name: str) -> bool:
    """True for a file of NIfTI's suffixes."""
    return name.lower().endswith(NIFTI_SUFFIXES)


def slice_size(path: Path, number: int | None, plane: str) -> tuple[int, int]:
    """Height and width of a slice; arguments and errors as those of `slice_image`."""
    volume = _open(path)
    return _placed(volume, number, plane).size


def slice_image(path: Path, number: int | None, plane: str, window: GreyWindow | None) -> npt.NDArray[np.float64]:
    """A slice, shape (H, W), in [0, 1], with the patient's front or head at the top and the right side on the left.

    Values are scaled as the header has it and windowed: by `window`, else by the header's cal_min and cal_max, else by
    the least and greatest value of the volume.

    Args:
        path: of the volume, .nii or .nii.gz.
        number: of the slice, from 0, counted from the patient's feet, back or left side.
        plane: one of PLANES.
        window: centre and width.

    Raises:
        BadFile: it is no volume of three axes, or has no such slice, or values that are not finite.
    """
    volume = _open(path)
    own = _placed(volume, number, plane)
    stored = _stored(volume)
    values = _values(volume, stored, own)
    low, high = (float(volume.header[name]) for name in ("cal_min", "cal_max"))
    if window is None and not low < high:  # scaling keeps the order of numbers, or turns it around
        low, high = sorted(map(float, _scaled(volume, np.array([stored.min(), stored.max()]))))
    if not np.isfinite([low, high]).all():
        raise BadFile(_NOT_FINITE)
    if window is not None:
        return window_values(values, *window)
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(own.size)


def slice_labels(path: Path, number: int | None, plane: str) -> npt.NDArray[np.float64]:
    """The numbers of a slice of a label map, shape (H, W), laid as by `slice_image`; arguments and errors likewise."""
    volume = _open(path)
    own = _placed(volume, number, plane)
    return _values(volume, _stored(volume), own)


def slice_count(path: Path, plane: str) -> int:
    """How many slices a volume has; errors as those of `slice_image`."""
    volume = _open(path)
    return int(volume.shape[_placed(volume, 0, plane).axis])


def _stored(volume: _Volume) -> npt.NDArray[Any]:
    """The numbers of a volume as stored: memory-mapped, or unzipped to the end of the file, where its checksum is."""
    try:
        offset, count = volume.header.get_data_offset(), math.prod(volume.shape)
        if not _is_zipped(volume.path):
            return np.memmap(volume.path, volume.dtype, "r", offset, volume.shape, order="F")
        data = files.unzipped(volume.path, DECODED_BYTES)
        return np.frombuffer(data, volume.dtype, count, offset).reshape(volume.shape, order="F")
    except Exception as error:  # whatever a damaged file leads to
        raise BadFile(f"a NIfTI volume that cannot be read ({str(error).splitlines()[0].rstrip('.')})") from error


def _scaled(volume: _Volume, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Stored numbers by the slope and intercept of the header."""
    scale = checks.import_extra("nibabel.volumeutils", "nifti").apply_read_scaling
    return np.asarray(scale(stored, *volume.header.get_slope_inter()), dtype=np.float64)


def _values(volume: _Volume, stored: npt.NDArray[Any], own: _Slice) -> npt.NDArray[np.float64]:
    """The scaled values of a slice, laid as a viewer shows them."""
    index = tuple(own.place if axis == own.axis else slice(None) for axis in range(3))
    values = _scaled(volume, stored[index + (0,) * (len(volume.shape) - 3)])
    if not np.isfinite(values).all():
        raise BadFile(_NOT_FINITE)
    rows, columns = own.rows, own.columns
    upright = values if rows[0] < columns[0] else values.T
    return upright[:: -1 if rows[1] else 1, :: -1 if columns[1] else 1]


def _placed(volume: _Volume, number: int | None, plane: str) -> _Slice:
    """The slice in the stored array; the header says which way the array lies."""
    shape = volume.shape
    if len(shape) < 3 or any(length != 1 for length in shape[3:]) or min(shape) < 1:
        raise BadFile(f"a NIfTI file of shape {shape}, and a volume has three axes: split it")
    if volume.dtype.kind not in "iuf":
        raise BadFile(f"a NIfTI volume of {volume.dtype}, and a voxel has one real number: save a channel of it")
    orientation = checks.import_extra("nibabel", "nifti").io_orientation(volume.header.get_best_affine())
    if not np.isfinite(orientation).all():
        raise BadFile("a NIfTI volume whose header does not say how it lies in space")
    stored = {int(axis): (index, sign) for index, (axis, sign) in enumerate(orientation)}
    normal = PLANES.index(plane)
    axis, sign = stored[normal]
    if number is None:
        raise BadFile(
            f"a volume of {shape[axis]} {plane} slices, and an image has one: name it in a table's column slice"
        )
    if not 0 <= number < shape[axis]:
        raise BadFile(f"a volume of {shape[axis]} {plane} slices, 0 to {shape[axis] - 1}, without slice {number}")
    across, up = (each for each in range(3) if each != normal)
    up_index, up_sign = stored[up]
    across_index, across_sign = stored[across]
    size = shape[up_index], shape[across_index]
    needed = math.prod(shape) * volume.dtype.itemsize + math.prod(size) * _SLICE_BYTES
    if needed > DECODED_BYTES:
        raise BadFile(f"a NIfTI volume that takes {needed:,} bytes, more than {DECODED_BYTES:,}: crop it, or split it")
    place = number if sign > 0 else shape[axis] - 1 - number
    # Rows go down from the patient's front or head, columns from the right side or the front: against the axes.
    return _Slice(axis, place, (up_index, up_sign > 0), (across_index, across_sign > 0), size)


def _open(path: Path) -> _Volume:
    nibabel = checks.import_extra("nibabel", "nifti")
    if archives.archive_member(path) is not None:
        raise BadFile("in an archive, where NIfTI volumes are not read: unpack it")
    try:
        with files.open_file(path) as file:
            start = (gzip.GzipFile(fileobj=file) if _is_zipped(path) else file).read(_HEADER_BYTES)
        kinds = [kind for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header) if kind.may_contain_header(start)]
        if not kinds:
            raise BadFile("it begins as none does")
        header = kinds[0].from_fileobj(io.BytesIO(start[: kinds[0].sizeof_hdr]))
        return _Volume(path, header, tuple(map(int, header.get_data_shape())), header.get_data_dtype())
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise BadFile(f"no readable NIfTI file ({str(error).splitlines()[0].rstrip('.')})") from error


def _is_zipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")
