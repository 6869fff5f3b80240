"""Decoding of image files (usual formats, DICOM, NIfTI) and of arrays of grey bytes to [0, 1]."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks
from dovision.datasets.readers import dicom, nifti
from dovision.functional import geometry
from dovision.io import files, images
from dovision.io.images import BadFile
from dovision.types import COVER, Resize, Shape

log = logging.getLogger(__name__)
_Image = TypeVar("_Image")
_Value = TypeVar("_Value")
SAMPLE = 32  # images that are looked at for their channels
DEEP_WHITE = 65535
GREY_MODES = ("1", "L", "LA", "I", "I;16")


def grey_or_rgb_shape(stated: Sequence[int]) -> Shape:
    """Return the stated image shape (C, H, W), of 1 or 3 channels."""
    whole = _checks.image_shape(stated)
    if whole[0] not in (1, 3):
        raise ValueError(f"shape must have 1 (grey) or 3 (RGB) channels, got {list(whole)!r}.")
    return whole


class DeepRange(NamedTuple):
    """Range of the values of a grey image of more than 8 bits."""

    low: int
    high: int
    bits: int  # that the file states, in a PNG's sBIT chunk or a TIFF's MaxSampleValue; 0: it states none

    @classmethod
    def of(cls, image: Image.Image) -> DeepRange | None:
        """Range of a decoded image; None for one of 8 bits, or whose range is unknown."""
        if not _is_deep(image) or image.mode == "F":
            return None
        values = np.asarray(image)
        return cls(int(values.min()), int(values.max()), image.info.get(images.BITS, 0))


def white_level(ranges: Sequence[DeepRange], stated: int | None = None) -> int:
    """Value that becomes 1 in grey images of more than 8 bits: `stated`, or the largest of 8, 10, 12, 14 or 16 bits.

    Of these the least that holds all values and what files state to need. A level below 65535 is logged.

    Args:
        ranges: of a sample of the images.
        stated: the level, where it is known.
    """
    if stated is not None:
        return checks.positive_int("white_level", stated, DEEP_WHITE)
    high = max((values.high for values in ranges), default=DEEP_WHITE)
    bits = max([high.bit_length(), *(values.bits for values in ranges)])
    level = 2 ** min((depth for depth in (8, 10, 12, 14) if depth >= bits), default=16) - 1
    if level < DEEP_WHITE:
        text = "%d becomes 1 in images of more than 8 bits, since the largest value of %d of them is %d. %s"
        remedy = f"If that is wrong, set dataset.white_level={DEEP_WHITE}, or give arrays in [0, 1]"
        log.warning(text, level, len(ranges), high, remedy)
    return level


def sampled_white(images: Sequence[_Image], opened: Callable[[_Image], Image.Image], stated: int | None = None) -> int:
    """White level as of `white_level`, by a seeded sample of images; `opened` decodes one, and skips a bad one."""
    ranges = _sampled(images, lambda image: DeepRange.of(opened(image))) if stated is None else ()
    return white_level([values for values in ranges if values is not None], stated)


def _sampled(images: Sequence[_Image], read: Callable[[_Image], _Value]) -> Iterator[_Value]:
    """Iterate over what is read of a seeded sample of images, without bad ones."""
    for row in np.random.default_rng(0).permutation(len(images))[:SAMPLE].tolist():
        with suppress(ValueError, OSError):
            yield read(images[row])


class ImageHeader(NamedTuple):
    """Properties of an image's file."""

    height: int
    width: int
    deep: DeepRange | None = None  # of a grey file of more than 8 bits
    colour: bool = False  # its channels differ
    digest: bytes = b""  # SHA-256 of the file; empty of a slice or a frame, of which a file has many


@dataclass(frozen=True)
class Decoding:
    """Decoder of files to images in [0, 1].

    Usual image files (see `io.images`) are turned as their EXIF orientation has it; transparency is dropped, and grey
    is the luma of ITU-R 601. Grey files of 16 bits keep their depth. Of DICOM see `dicom.dicom_image`, of NIfTI
    `nifti.slice_image`.

    Args:
        window: centre and width of the values that become [0, 1], for DICOM, NIfTI and grey files of more than 8 bits,
            whose range it replaces; None is the file's own.
        plane: of NIfTI slices, one of `nifti.PLANES`.
        white: value that becomes 1 in grey files of more than 8 bits, as of `white_level`, unless there is a window.
    """

    window: tuple[float, float] | None = None
    plane: str = "axial"
    white: int = DEEP_WHITE

    def header(self, path: Path, number: int | None = None, decode: bool = True) -> ImageHeader:
        """Decode the image to its end, and return what is known of it; arguments and errors as those of `pixels`.

        Without `decode` only its size is read; damage behind its header is not noticed.
        """
        if nifti.is_nifti(path.name):
            if not decode:
                return ImageHeader(*nifti.slice_size(path, number, self.plane))
            return ImageHeader(*self.pixels(path, 1, number).shape[1:])
        data = _bytes(path)
        digest = hashlib.sha256(data).digest() if number is None else b""
        if dicom.is_dicom(path.name, data):
            if not decode:
                return ImageHeader(*dicom.dicom_size(data, number), digest=digest)
            value = _tensor(dicom.dicom_image(data, number, self.window), 3)
            return ImageHeader(value.shape[1], value.shape[2], colour=is_colour(value), digest=digest)
        _one_frame(number)
        if not decode:
            return ImageHeader(*images.upright_size(data), digest=digest)
        image = images.decode(data)
        if _is_deep(image):
            value = self._of_pil(image, 1)  # which refuses another range
            deep = DeepRange.of(image) if self.window is None else None
            return ImageHeader(value.shape[1], value.shape[2], deep=deep, digest=digest)
        image = images.upright(image)
        rgb = None if image.mode in GREY_MODES else torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)
        colour = rgb is not None and is_colour(rgb, white=255)
        return ImageHeader(image.height, image.width, colour=colour, digest=digest)

    def pixels(self, path: Path, channels: int, number: int | None = None) -> Tensor:
        """Decode the image at its size in the file, made grey or RGB, shape (channels, H, W), float in [0, 1].

        Args:
            path: of the file.
            channels: 1 or 3.
            number: of a volume's slice or of a DICOM file's frame, from 0; None where there is one.

        Raises:
            BadFile: the file is no whole image; the message says why, without the file's name.
        """
        if nifti.is_nifti(path.name):
            return _tensor(nifti.slice_image(path, number, self.plane, self.window), channels)
        data = _bytes(path)
        if dicom.is_dicom(path.name, data):
            return _tensor(dicom.dicom_image(data, number, self.window), channels)
        _one_frame(number)
        return self._of_pil(images.decode(data), channels)

    def _of_pil(self, image: Image.Image, channels: int) -> Tensor:
        if self.window is not None and _is_deep(image):
            values = np.asarray(images.upright(image), dtype=np.float64)
            return _tensor(dicom.window_values(values, *self.window), channels)
        return _channels(_upright(image), channels, self.white)


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def is_colour(image: Tensor, white: float = 1) -> bool:
    """Return whether the channels of an image, shape (3, H, W), differ by more than 2 of 255 anywhere."""
    return bool((image.amax(0) - image.amin(0)).max() > 2.5 / 255 * white)


def channels_of(images: Sequence[_Image], read: Callable[[_Image], Tensor]) -> int:
    """Return 3 if an image of a seeded sample is in colour, 1 if all are grey.

    `read` gives an image as RGB; those that cannot be read are skipped, since the dataset checks them itself.
    """
    return 3 if any([*_sampled(images, lambda image: is_colour(read(image)))]) else 1


def pixels(path: Path, channels: int, decoding: Decoding | None = None, number: int | None = None) -> Tensor:
    """Decode as `Decoding.pixels` does, with the file's name in the error."""
    try:
        return (decoding or Decoding()).pixels(path, channels, number)
    except BadFile as error:
        raise ValueError(f"{path} must be a whole image, but is {error}.") from error


def pil_pixels(image: Image.Image, channels: int, white: int = DEEP_WHITE) -> Tensor:
    """Read a PIL image as one from a file is read, shape (channels, H, W)."""
    try:
        return _channels(_upright(image), channels, white)
    except BadFile as error:
        raise ValueError(f"an image must have pixels of a known range, but is {error}.") from error


def fitted(value: Tensor, shape: Shape, resize: Resize = COVER) -> Tensor:
    """Resize an image, shape (C, H, W), with antialiasing, by default to cover `shape`, and take its centre."""
    where = geometry.central_fit(value.shape[1], value.shape[2], shape, resize)
    if where.resized != where.source:
        value = F.interpolate(value.unsqueeze(0), size=where.resized, mode=resize.interpolation, antialias=True)[0]
    return where.window.crop(value).clamp(0, 1).contiguous()


def _bytes(path: Path) -> bytes:
    try:
        return files.read_bytes(path, images.MAX_FILE_BYTES)
    except ValueError as error:
        raise BadFile(str(error)) from error


def _one_frame(number: int | None) -> None:
    if number is not None:
        raise BadFile(f"a file of one image, without slice {number}: leave the column slice empty")


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image upright, unless the range of its numbers is unknown."""
    whole = np.asarray(image) if image.mode == "I" else np.zeros(1)
    if image.mode == "F" or whole.min() < 0 or whole.max() > 65535:
        raise BadFile(
            f"of mode {image.mode}, whose range is not known: set dataset.window of dataset=table, or convert it"
        )
    return images.upright(image)


def _channels(image: Image.Image, channels: int, white: int) -> Tensor:
    """Convert to shape (channels, H, W) in [0, 1]."""
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.max() > white:
            raise BadFile(f"of values up to {levels.max()}, above white, {white}: set dataset.white_level={DEEP_WHITE}")
        grey = torch.from_numpy(levels.astype(np.float32) / white)
        return grey.expand(channels, *grey.shape)
    values = torch.from_numpy(np.array(image.convert("L" if channels == 1 else "RGB")))
    return values.reshape(image.height, image.width, channels).permute(2, 0, 1).float().div_(255)


def _tensor(values: npt.NDArray[np.float64], channels: int) -> Tensor:
    """Convert values, shape (H, W) or (H, W, 3), to a float tensor of shape (channels, H, W)."""
    value = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    if value.ndim == 2:
        return value.expand(channels, *value.shape)
    if channels == 1:
        return (value @ value.new_tensor([0.299, 0.587, 0.114])).unsqueeze(0)
    return value.movedim(-1, 0)
