"""Assets inside a page: figures made lighter, and a count of the bytes that still fit."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dovision.io import images

DIGITS = re.compile(r"(\.\d{2})\d+")  # a hundredth of a point is finer than any screen
GEOMETRY = re.compile(r'\b(d|transform|points|x|y|width|height)="(?!matrix|scale)([^"]*)"')  # factors need all digits
PICTURE = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
HEAVY = 6_000  # bytes from which a photograph is worth compressing


@dataclass
class SizeBudget:
    """Remaining bytes of a page."""

    left: int

    def take(self, *items: str) -> bool:
        """Reserve room for all items; return whether they fit."""
        return self.take_bytes(sum(len(item.encode()) for item in items))

    def take_bytes(self, size: int) -> bool:
        """Reserve so many bytes; return whether they fit."""
        if size > self.left:
            return False
        self.left -= size
        return True


def lighter(svg: str) -> str:
    """Compact an SVG: two decimals, opaque photographs as JPEG, no line breaks between tags."""
    svg = GEOMETRY.sub(lambda match: f'{match[1]}="{DIGITS.sub(lambda number: number[1], match[2])}"', svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg)
    return PICTURE.sub(lambda match: picture_link(base64.b64decode(match[1])), svg)


def png_bytes(values: npt.NDArray[np.uint8], compress_level: int = -1) -> bytes:
    """Encode bytes, shape (H, W), (H, W, 3) or (H, W, 4), as PNG."""
    held = io.BytesIO()
    Image.fromarray(values).save(held, "PNG", compress_level=compress_level)
    return held.getvalue()


def picture_link(png: bytes) -> str:
    """data: URL of a picture, as JPEG if much smaller and opaque."""
    if len(png) >= HEAVY:
        picture = images.decode(png)
        if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
            picture = picture.convert("RGB")
        if picture.mode in ("L", "RGB"):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=85, optimize=True)
            jpeg = buffer.getvalue()
            if len(jpeg) < len(png) / 2:
                return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
