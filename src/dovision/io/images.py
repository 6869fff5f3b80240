"""Decode image files of the usual kinds, within a budget that is checked before any pixel is decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dovision.io import files

PIXELS = 1 << 26  # the most of an image: 67 million, at most 1 GB while it is read
MAX_FILE_BYTES = 1 << 28  # the most of its file
DECODED_BYTES = 5 << 28  # the most of a volume, or an image in float64, while it is read; a long CT has 2 ** 30
SCANNED_PIXELS = 1 << 33  # the most pixels of a JPEG, times its scans, of which each costs a pass over all pixels
# Each a plain raster. Pillow reads others, too, some of them by starting a program that interprets the file (EPS).
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_KINDS = f"{', '.join(IMAGE_FORMATS[:-1])} or {IMAGE_FORMATS[-1]}"

TILE_WIDTH, TILE_HEIGHT = 322, 323  # tags
TIFF_BITS, TIFF_MAX = 258, 281  # of TIFF: bits of a channel, and the largest value
BITS = "significant_bits"  # key of an image's info
_PNG_EXIF = (b"eXIf", b"exif", b"Exif")  # names of chunks and of texts that hold it
ORIENTATION, TURNED = 274, (5, 6, 7, 8)  # the tag, and its values that exchange height and width


class BadFile(ValueError):
    """File that is not a complete image; the message gives the reason without the file's name."""


def open_image(path: Path) -> Image.Image:
    """Decode an image file; errors as of `decode`, and FileNotFoundError.

    Raises:
        BadFile: also if it is no regular file.
    """
    try:
        data = files.read_bytes(path, MAX_FILE_BYTES)
    except ValueError as error:
        raise BadFile(str(error)) from error
    return decode(data)


def decode(data: bytes) -> Image.Image:
    """Decode an image from a file's bytes, to the end.

    Raises:
        BadFile: the bytes are no image of these kinds, a truncated one, one of more pixels than the budget, or several.
    """
    if not data:
        raise BadFile("empty")
    try:
        image = _opened(data)
        if image.format == "PNG":  # whose checksums are not looked at while pixels are decoded
            image.verify()
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        image.load()
        image.info[BITS] = _stated_bits(image, data)
        if image.mode in ("RGB", "RGBA", "LA") and _is_sixteen_bit(image, data) and np.asarray(image).max() < 64:
            raise BadFile("of 16 bits a channel, of which the upper 8 are read, and all below 64: save it in 8 bits")
    except BadFile:
        raise
    except Exception as error:  # Pillow's readers raise whatever their format's damage leads to
        raise BadFile(f"not readable as an image ({str(error).split(' <')[0]})") from error
    return image


def _stated_bits(image: Image.Image, data: bytes) -> int:
    """Bits that a file says its values have, by a PNG's sBIT or a TIFF's MaxSampleValue; 0: it says none."""
    if image.format == "TIFF":
        most = image.tag_v2.get(TIFF_MAX, 0)  # type: ignore[attr-defined]
        return int(max(most) if isinstance(most, tuple) else most).bit_length()
    start = data.find(b"sBIT", 0, data.find(b"IDAT")) if image.format == "PNG" else -1  # which Pillow leaves out
    return data[start + 4] if start > 0 else 0


def _is_sixteen_bit(image: Image.Image, data: bytes) -> bool:
    """Return whether channels have 16 bits, of which Pillow decodes the upper 8, in a PNG or a TIFF."""
    if image.format == "TIFF":
        return bool(16 in np.atleast_1d(image.tag_v2.get(TIFF_BITS, 8)))  # type: ignore[attr-defined]
    return image.format == "PNG" and data[24] == 16


def upright(image: Image.Image) -> Image.Image:
    """Rotate and mirror an image by its EXIF orientation; BadFile if its EXIF data cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # whatever damaged EXIF data lead to
        raise BadFile(f"of EXIF data that cannot be read ({error})") from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Height and width of an image after its EXIF orientation, from the header in a file's bytes.

    Raises:
        BadFile: as of `decode`, but for damage behind the header.
    """
    if not data:
        raise BadFile("empty")
    try:
        image = _opened(data)
        # Pillow turns TIFF by itself, and would decode all of a PNG to look for EXIF data
        may_be_turned = image.format not in ("TIFF", "PNG") or (
            image.format == "PNG" and any(m in data for m in _PNG_EXIF)
        )
        turned = may_be_turned and image.getexif().get(ORIENTATION, 1) in TURNED
    except BadFile:
        raise
    except Exception as error:  # as in `decode`
        raise BadFile(f"not readable as an image ({str(error).split(' <')[0]})") from error
    return (image.width, image.height) if turned else (image.height, image.width)


def _opened(data: bytes) -> Image.Image:
    """Open an image by its header, and check the header."""
    try:
        image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise BadFile(f"of more than {PIXELS:,} pixels: make it smaller") from error
    except UnidentifiedImageError as error:
        raise BadFile(f"not readable as an image ({_KINDS}; convert others, such as HEIC)") from error
    _check(image)
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") * image.width * image.height > SCANNED_PIXELS:
        raise BadFile("a JPEG of too many scans: save it again")
    return image


def _check(image: Image.Image) -> None:
    """Raise for an unsuitable header; a JPEG's further frames, thumbnails or extras of a phone, are ignored."""
    tags = getattr(image, "tag_v2", {})  # of TIFF, whose tiles are unpacked whole, and may be larger than the image
    for width, height in (image.size, (tags.get(TILE_WIDTH, 0), tags.get(TILE_HEIGHT, 0))):
        if width * height > PIXELS:
            raise BadFile(f"of {height:,} x {width:,} pixels, more than {PIXELS:,} in all: make it smaller")
    if image.format != "MPO" and _is_animated(image):
        raise BadFile("of several frames, and an image has one: save them as files of their own")


def _is_animated(image: Image.Image) -> bool:
    """Return whether there is a second frame; of TIFF Pillow would look for all of them."""
    if image.format != "TIFF":
        return getattr(image, "is_animated", False)
    try:
        image.seek(1)
    except EOFError:
        return False
    return True
