"""Slices of NIfTI volumes, as radiologists look at them. Needs the extra `nifti`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dovision import checks
from dovision.datasets.readers.dicom import GreyWindow, decoding, window_values
from dovision.io import files
from dovision.io.images import DECODED_BYTES, BadFile

# A slice's normal is the patient's axis from left to right, back to front, feet to head.
PLANES = ("sagittal", "coronal", "axial")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
_SLICE_BYTES = 32  # a pixel of a slice: four arrays of float64 while it is scaled and windowed
_NOT_FINITE = "a NIfTI volume with values that are not finite"
_UNREADABLE = "a NIfTI volume that cannot be read"


class _Slice(NamedTuple):
    """Slice of a volume by the volume's header; its numbers are not read yet."""

    path: Path  # of the volume
    image: Any  # of nibabel, whose numbers are read on request
    orientation: npt.NDArray[np.float64]  # of the stored axes, as of nibabel.io_orientation
    plane: int  # place in PLANES, the axis along which slices are counted once the volume is laid along the patient's
    number: int
    slices: int  # of the volume
    size: tuple[int, int]  # height and width


def is_nifti(name: str) -> bool:
    """Return whether a file has one of NIfTI's suffixes."""
    return name.lower().endswith(NIFTI_SUFFIXES)


def slice_size(path: Path, number: int | None, plane: str) -> tuple[int, int]:
    """Read height and width of a slice; arguments and errors as those of `slice_image`."""
    return _open(path, number, plane).size


def slice_image(path: Path, number: int | None, plane: str, window: GreyWindow | None) -> npt.NDArray[np.float64]:
    """Read a slice, shape (H, W), in [0, 1], the patient's front or head at the top and the right side on the left.

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
    chosen = _open(path, number, plane)
    volume = _volume(chosen)
    values = _values(chosen, volume)
    if window is not None:
        return window_values(values, *window)
    low, high = (float(chosen.image.header[name]) for name in ("cal_min", "cal_max"))
    if not low < high:
        with decoding(_UNREADABLE):
            scaled = np.asanyarray(volume)
        low, high = float(scaled.min()), float(scaled.max())
    if not np.isfinite([low, high]).all():
        raise BadFile(_NOT_FINITE)
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(chosen.size)


def slice_labels(path: Path, number: int | None, plane: str) -> npt.NDArray[np.float64]:
    """Read a slice of a label map, shape (H, W); orientation, arguments and errors are those of `slice_image`."""
    chosen = _open(path, number, plane)
    return _values(chosen, _volume(chosen))


def slice_count(path: Path, plane: str) -> int:
    """Number of slices of a volume; errors as those of `slice_image`."""
    return _open(path, 0, plane).slices


def _volume(chosen: _Slice) -> Any:
    """Values of a volume, scaled as the header has it when they are read; of a zipped one to the end, its checksum."""
    if not chosen.path.name.lower().endswith(".gz"):
        return chosen.image.dataobj
    with decoding(_UNREADABLE):
        return type(chosen.image).from_bytes(files.unzipped(chosen.path, DECODED_BYTES)).dataobj


def _values(chosen: _Slice, volume: Any) -> npt.NDArray[np.float64]:
    """Values of a slice, laid out as a viewer shows them."""
    axis = int(np.flatnonzero(chosen.orientation[:, 0] == chosen.plane)[0])
    number = chosen.number if chosen.orientation[axis, 1] > 0 else chosen.slices - 1 - chosen.number
    with decoding(_UNREADABLE):
        slab = np.asarray(volume[(slice(None),) * axis + (slice(number, number + 1),)], dtype=np.float64)
    laid = checks.import_extra("nibabel", "nifti").apply_orientation(slab.reshape(slab.shape[:3]), chosen.orientation)
    values = laid.take(0, chosen.plane)
    if not np.isfinite(values).all():
        raise BadFile(_NOT_FINITE)
    return values.T[::-1, ::-1]  # rows go down from the front or head, columns from the right side or the front


def _open(path: Path, number: int | None, plane: str) -> _Slice:
    """Locate the slice by the header, which is checked and gives the orientation of the stored array."""
    nibabel = checks.import_extra("nibabel", "nifti")
    with decoding("no readable NIfTI file"):
        image = nibabel.load(path)
        shape, dtype = tuple(map(int, image.shape)), image.get_data_dtype()
    if len(shape) < 3 or any(length != 1 for length in shape[3:]) or min(shape) < 1:
        raise BadFile(f"a NIfTI file of shape {shape}, and a volume has three axes: split it")
    if dtype.kind not in "iuf":
        raise BadFile(f"a NIfTI volume of {dtype}, and a voxel has one real number: save a channel of it")
    orientation = nibabel.io_orientation(image.affine)
    if not np.isfinite(orientation).all():
        raise BadFile("a NIfTI volume whose header does not say how it lies in space")
    lengths = [shape[axis] for axis in orientation[:, 0].argsort()]  # along the patient's axes
    normal = PLANES.index(plane)
    count = lengths.pop(normal)
    size = lengths[1], lengths[0]
    if number is None:
        raise BadFile(f"a volume of {count} {plane} slices, and an image has one: name it in a table's column slice")
    if not 0 <= number < count:
        raise BadFile(f"a volume of {count} {plane} slices, 0 to {count - 1}, without slice {number}")
    needed = math.prod(shape) * dtype.itemsize + math.prod(size) * _SLICE_BYTES
    if needed > DECODED_BYTES:
        raise BadFile(f"a NIfTI volume that takes {needed:,} bytes, more than {DECODED_BYTES:,}: crop it, or split it")
    return _Slice(path, image, orientation, normal, number, count, size)
