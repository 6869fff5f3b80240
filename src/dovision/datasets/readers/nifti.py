"""Slices of NIfTI volumes, as radiologists look at them. Needs the extra `nifti`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dovision import checks
from dovision.datasets.readers.dicom import GreyWindow, decoding, window_values
from dovision.io import files
from dovision.io.images import DECODED_BYTES, BadFile

# A slice's normal is the patient's axis from left to right, back to front, feet to head.
PLANES = ("sagittal", "coronal", "axial")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
_NOT_FINITE = "a NIfTI volume with values that are not finite"
_UNREADABLE = "a NIfTI volume that cannot be read"


def is_nifti(name: str) -> bool:
    """Return whether a file has one of NIfTI's suffixes."""
    return name.lower().endswith(NIFTI_SUFFIXES)


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
    values, image = slice_values(path, number, plane)
    if window is not None:
        return window_values(values, *window)
    low, high = (float(image.header[name]) for name in ("cal_min", "cal_max"))
    if not low < high:
        with decoding(_UNREADABLE):
            volume = np.asanyarray(image.dataobj)
        low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all():
        raise BadFile(_NOT_FINITE)
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)


def slice_count(path: Path, plane: str) -> int:
    """Number of slices of a volume; errors as those of `slice_image`."""
    image = _load(path)
    return int(image.shape[_axis(image, plane)[0]])


def slice_size(path: Path, number: int | None, plane: str) -> tuple[int, int]:
    """Read height and width of a slice from the header; arguments and errors as those of `slice_image`."""
    _check_number(number, slice_count(path, plane), plane)
    width, height = (slice_count(path, name) for name in PLANES if name != plane)
    return height, width


def _check_number(number: int | None, count: int, plane: str) -> int:
    if number is None:
        raise BadFile(f"a volume of {count} {plane} slices, and an image has one: name it in a table's column slice")
    if not 0 <= number < count:
        raise BadFile(f"a volume of {count} {plane} slices, 0 to {count - 1}, without slice {number}")
    return number


def _axis(image: Any, plane: str) -> tuple[int, bool]:
    """Axis of a volume that crosses the slices, and whether it runs from the patient's feet, back or left side."""
    orientation = checks.import_extra("nibabel", "nifti").io_orientation(image.affine)
    if not np.isfinite(orientation).all():
        raise BadFile("a NIfTI volume whose header does not say how it lies in space")
    axis = orientation[:, 0].tolist().index(PLANES.index(plane))
    return axis, bool(orientation[axis, 1] > 0)


def slice_values(path: Path, number: int | None, plane: str) -> tuple[npt.NDArray[np.float64], Any]:
    """Values of a slice, shape (H, W), and its volume; orientation, arguments and errors are those of `slice_image`."""
    nibabel, image = checks.import_extra("nibabel", "nifti"), _load(path)
    axis, ascends = _axis(image, plane)
    count = int(image.shape[axis])
    number = _check_number(number, count, plane)
    stored = number if ascends else count - 1 - number
    with decoding(_UNREADABLE):
        if path.name.lower().endswith(".gz"):  # to the end, where its checksum is; of others no other slice is read
            image = type(image).from_bytes(files.unzipped(path, DECODED_BYTES))
        slab = image.slicer[(slice(None),) * axis + (slice(stored, stored + 1),)]
        values = np.asarray(nibabel.as_closest_canonical(slab).dataobj, dtype=np.float64)
    values = np.moveaxis(values.reshape(values.shape[:3]), PLANES.index(plane), 0)[0]
    if not np.isfinite(values).all():
        raise BadFile(_NOT_FINITE)
    return values.T[::-1, ::-1], image  # rows go down from the front or head, columns from the right side or the front


def _load(path: Path) -> Any:
    """Volume of nibabel, whose numbers are read on request; its header is checked."""
    nibabel = checks.import_extra("nibabel", "nifti")
    with decoding("no readable NIfTI file"):
        image = nibabel.load(path)
        shape, dtype = tuple(map(int, image.shape)), image.get_data_dtype()
    if len(shape) < 3 or any(length != 1 for length in shape[3:]) or min(shape) < 1:
        raise BadFile(f"a NIfTI file of shape {shape}, and a volume has three axes: split it")
    if dtype.kind not in "iuf":
        raise BadFile(f"a NIfTI volume of {dtype}, and a voxel has one real number: save a channel of it")
    needed = math.prod(shape) * dtype.itemsize + 32 * math.prod(sorted(shape)[-2:])  # of a slice four of float64
    if needed > DECODED_BYTES:
        raise BadFile(f"a NIfTI volume that takes {needed:,} bytes, more than {DECODED_BYTES:,}: crop it, or split it")
    return image
