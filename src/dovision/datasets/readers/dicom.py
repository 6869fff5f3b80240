"""Images of DICOM files, as a viewer shows them: rescaled, windowed, MONOCHROME1 inverted. Needs the extra `dicom`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from dovision import checks
from dovision.io.images import DECODED_BYTES, BadFile

GreyWindow = tuple[float, float]  # centre and width
GreyValues = npt.NDArray[np.float64]
_PIXELS = DECODED_BYTES // 32  # of a frame: four arrays of float64 while it is rescaled and windowed


def is_dicom(name: str, start: bytes) -> bool:
    """Return whether a file has one of DICOM's suffixes, or begins as DICOM files do."""
    return name.lower().endswith((".dcm", ".dicom", ".dic", ".ima")) or start[128:132] == b"DICM"


def dicom_size(data: bytes, number: int | None) -> tuple[int, int]:
    """Read height and width of a file's image from its header.

    Args:
        data: the file's bytes, or those before its pixels.
        number: of the frame, from 0.

    Raises:
        BadFile: it is no DICOM file, has no pixels, too many of them, or several frames of which none is named.
    """
    file = _read(data, header_only=True)
    size = file.get("Rows"), file.get("Columns")
    if not all(isinstance(length, int) and length > 0 for length in size):
        raise BadFile("a DICOM file without pixels (Rows and Columns)")
    if size[0] * size[1] > _PIXELS:
        raise BadFile(f"of {size[0]:,} x {size[1]:,} pixels, more than {_PIXELS:,} in all: make it smaller")
    frames = int(file.get("NumberOfFrames", None) or 1)
    if number is None and frames > 1:
        raise BadFile(f"of {frames} frames, and an image has one: name it in a table's column slice")
    if number is not None and not 0 <= number < frames:
        raise BadFile(f"of {frames} frames, 0 to {frames - 1}, without frame {number}")
    return size[0], size[1]


def dicom_image(data: bytes, number: int | None, window: GreyWindow | None) -> GreyValues:
    """Read the image, shape (H, W), or (H, W, 3) for colours, in [0, 1].

    Stored values are rescaled by slope and intercept (or the file's modality LUT), then windowed: by `window`, else by
    the file's VOI LUT or its first window; where it has neither, by the range that its bits can hold. MONOCHROME1,
    in which low values are bright, is inverted.

    Args:
        data: the file's bytes.
        number: of the frame, from 0; None for a file of one.
        window: centre and width, in rescaled values (Hounsfield units for CT).

    Raises:
        BadFile: the pixels cannot be decoded.
    """
    dicom_size(data, number)
    pixels = checks.import_extra("pydicom.pixels", "dicom")
    file = _read(data, header_only=False)
    photometric = str(file.get("PhotometricInterpretation", ""))
    with decoding("a DICOM file whose pixels cannot be decoded"):
        stored = pixels.pixel_array(file, index=number or 0)
        if stored.ndim == 3:
            return stored / float(2 ** int(file.BitsAllocated) - 1)
        if photometric == "PALETTE COLOR":
            coloured = pixels.apply_color_lut(stored, file)
            return coloured[..., :3] / float(np.iinfo(coloured.dtype).max)
        values = np.asarray(pixels.apply_modality_lut(stored, file), dtype=np.float64)
        if window is not None:
            grey = window_values(values, *window)
        elif file.get("VOILUTSequence"):
            table = np.asarray(pixels.apply_voi(values.astype(np.int64), file), dtype=np.float64)
            grey = np.clip(table / (2 ** int(file.VOILUTSequence[0].LUTDescriptor[2]) - 1), 0, 1)
        else:
            low, high = _range(file, pixels)
            if not any(file.get(name) in (None, "", []) for name in ("WindowCenter", "WindowWidth")):
                values = pixels.apply_windowing(values, file)  # to that range
            else:
                low, high = sorted((low, high))
            grey = np.clip((values - low) / (high - low or 1e-9), 0, 1)
    return 1 - grey if photometric == "MONOCHROME1" else grey


def window_values(values: GreyValues, center: float, width: float) -> GreyValues:
    """Map values to [0, 1] by a linear window; DICOM PS3.3, C.11.2.1.2.

    Raises:
        BadFile: the width is below 1.
    """
    if width < 1:
        raise BadFile(f"of a window of width {width:g}, which must be at least 1")
    if width == 1:  # a threshold
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _range(file: Any, pixels: Any) -> tuple[float, float]:
    """Rescaled values of the ends of what the file's bits can hold."""
    if file.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(file.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    bits, signed = int(file.BitsStored), bool(file.PixelRepresentation)
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    low, high = map(float, pixels.apply_modality_lut(ends, file))
    return low, high


def _read(data: bytes, header_only: bool) -> Any:
    pydicom = checks.import_extra("pydicom", "dicom")
    with decoding("no readable DICOM file"):
        return pydicom.dcmread(BytesIO(data), stop_before_pixels=header_only)


@contextmanager
def decoding(failure: str) -> Iterator[None]:
    """Turn whatever a damaged file leads to into a BadFile, without the library's warnings of odd values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (BadFile, FileNotFoundError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:400].rstrip(".:")  # behind a colon: packages that would decode it
        raise BadFile(f"{failure} ({reason})") from error
