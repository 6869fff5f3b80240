"""An image is decoded only if its header promises no more than fits."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from dovision.io import images

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG of zeros that is as small as it can be."""
    squeeze, rows = zlib.compressobj(9), bytes(min(1 + 3 * width, 1 << 20))
    left, data = height * (1 + 3 * width), b""
    while left:
        data += squeeze.compress(rows[:left])
        left -= len(rows[:left])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data + squeeze.flush()), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", images.IMAGE_FORMATS)
def test_each_kind_is_read(kind):
    image = images.decode(encoded(NOISE, kind))
    assert image.size == (64, 48)


def test_other_kinds_are_not_opened(monkeypatch):
    """EPS is a program, which Pillow gives to Ghostscript."""
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    for kind in ("EPS", "ICO", "PCX", "TGA", "JPEG2000"):
        with pytest.raises(
            images.BadFile, match="not readable as an image .BMP, GIF, JPEG, PNG, PPM, TIFF or WEBP; convert"
        ):
            images.decode(encoded(NOISE, kind))


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded():
    """In a process of its own, which may take no more than what Python, numpy and Pillow themselves take."""
    data = png(8193, 8193)
    assert len(data) < 200_000
    code = (
        "import sys, resource\nfrom dovision.io import images\ndata = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    images.decode(data)\nexcept images.BadFile as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    message, more = done.stdout.decode().splitlines()
    assert message == "of 8,193 x 8,193 pixels, more than 67,108,864 in all: make it smaller"
    assert int(more) < 20_000  # KiB


def tiff(*tags: tuple[int, int], data: bytes = bytes(1000)) -> bytes:
    """A TIFF of whole-number tags, with data behind them."""
    rows = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags)]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4) + data


SIZES = [(8193, 8192), (60000, 60000), (1 << 30, 1), (0x7FFFFFFF, 0x7FFFFFFF)]
HEADERS = {
    "PNG": lambda w, h: b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)),
    "BMP": lambda w, h: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, w, h, 1, 24, 0, 0, 0, 0, 0, 0),
    "GIF": lambda w, h: b"GIF89a" + struct.pack("<HH3x", w, h) + b"," + struct.pack("<4xHHx", w, h) + b"\2\2L\1\0;",
    "PPM": lambda w, h: f"P6 {w} {h} 255\n".encode(),
    "TIFF": lambda w, h: tiff((256, w), (257, h), (258, 8), (262, 1), (273, 8)),
    "TIFF of tiles": lambda w, h: tiff(
        *((256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (322, w), (323, h), (324, 122), (325, 900))
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("kind", "size"), [(kind, size) for kind in HEADERS for size in (SIZES[:2] if kind == "GIF" else SIZES)]
)
def test_a_header_of_too_many_pixels_is_refused(kind, size):
    with pytest.raises(images.BadFile, match=r"more than 67,108,864|not readable as an image"):
        images.decode(HEADERS[kind](*size) + bytes(1000))


def test_text_that_unpacks_to_gigabytes_is_refused():
    bomb = b"note\0\0" + zlib.compress(bytes(100_000_000), 9)
    with pytest.raises(images.BadFile, match="not readable as an image .Decompressed data too large"):
        images.decode(png(4, 4, chunk(b"zTXt", bomb)))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_no_image(kind):
    others = [NOISE.rotate(90), NOISE.rotate(180)]
    with pytest.raises(images.BadFile, match="of several frames, and an image has one"):
        images.decode(encoded(NOISE, kind, save_all=True, append_images=others))


def test_a_jpeg_with_a_thumbnail_is_its_first_frame():
    data = encoded(NOISE, "MPO", save_all=True, append_images=[NOISE.resize((16, 12))])
    assert images.decode(data).size == (64, 48)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_size_is_that_of_the_upright_image_in_any_format(kind):
    for orientation in range(10):
        exif, data = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        Image.new("RGB", (40, 24)).save(data, kind, exif=exif)
        upright = ImageOps.exif_transpose(Image.open(data))
        upright.load()
        assert images.upright_size(data.getvalue()) == upright.size[::-1]
