"""Images and maps as pictures that a page shows."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from dovision.report.figures.overlay import painted_effects
from dovision.types import Mask


def png(values: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of bytes, shape (H, W), (H, W, 3) or (H, W, 4)."""
    held = io.BytesIO()
    Image.fromarray(values).save(held, "PNG", compress_level=1)
    return held.getvalue()


def link(values: npt.NDArray[np.uint8]) -> str:
    """The same as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(png(values)).decode()}"


def effects_link(values: npt.NDArray[np.float64], limit: float) -> str:
    """Effects, shape (H, W), in the colours that figures have over images: red below 0, the clearer the smaller."""
    return link((painted_effects(values, limit) * 255).round().astype(np.uint8))


def unpacked(text: str, height: int, width: int) -> Mask:
    """The mask of a page, shape (H, W): bits row by row, in base64.

    Raises:
        ValueError: it is not of this size, or has no pixel.
    """
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text, validate=True), np.uint8))
    if len(bits) != -(-height * width // 8) * 8:
        raise ValueError(f"the region must be of the image's {height} x {width} pixels. Reload the page.")
    mask = bits[: height * width].reshape(height, width).astype(bool)
    if not mask.any():
        raise ValueError("the region must have a pixel. Brush over the image first.")
    return mask
