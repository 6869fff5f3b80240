"""Assets inside a page: figures made lighter, and a count of the bytes that still fit."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

from dovision.io import images

DIGITS = re.compile(r"(\.\d{2})\d+")  # a hundredth of a point is finer than any screen
GEOMETRY = re.compile(r'\b(d|transform|points|x|y|width|height)="(?!matrix|scale)([^"]*)"')  # factors need all digits
PICTURE = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
HEAVY = 6_000  # bytes from which a photograph is worth compressing


@dataclass
class SizeBudget:
    """Bytes that may still be put into a page."""

    left: int

    def take(self, *items: str) -> bool:
        """Count the items if all of them still fit; returns whether they do."""
        return self.take_bytes(sum(len(item.encode()) for item in items))

    def take_bytes(self, size: int) -> bool:
        """Count so many bytes if they still fit; returns whether they do."""
        if size > self.left:
            return False
        self.left -= size
        return True


def lighter(svg: str) -> str:
    """A drawing with coordinates of two decimals, opaque photographs as JPEG, and no line breaks between its tags."""
    svg = GEOMETRY.sub(lambda match: f'{match[1]}="{DIGITS.sub(lambda number: number[1], match[2])}"', svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg)
    return PICTURE.sub(lambda match: picture_link(base64.b64decode(match[1])), svg)


def picture_link(png: bytes) -> str:
    """A data: address of a picture: as JPEG where that is much smaller and the picture has no transparency."""
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
