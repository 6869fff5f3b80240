"""Reading of one image file of any usual kind into [0, 1]."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dovision import geometry
from dovision.contracts import Shape


class BadFile(ValueError):
    """A file that is no whole image; the message says why, without the file's name."""


class Size(NamedTuple):
    height: int
    width: int


def check(data: bytes) -> Size:
    """The size of the image in a file's bytes, which is decoded to its end.

    Raises:
        BadFile: the bytes are no image, a truncated one, or of a mode whose range is not known.
    """
    image = _decode(data)
    return Size(image.height, image.width)


def read(path: Path, shape: Shape) -> Tensor:
    """The image, shape `shape`, float in [0, 1]: made grey or RGB, resized to cover the shape, its centre taken.

    Grey is the luma of ITU-R 601; transparency is dropped; 16-bit files keep their depth.
    """
    try:
        image = _decode(path.read_bytes())
    except BadFile as error:
        raise ValueError(f"{path} must be a whole image, but is {error}.") from error
    value = _channels(image, shape[0])
    fit = geometry.central_fit(image.height, image.width, shape)
    if fit.resized != fit.source:
        value = F.interpolate(value.unsqueeze(0), size=fit.resized, mode="bilinear", antialias=True)[0]
    return fit.window.crop(value).clamp(0, 1).contiguous()


def _decode(data: bytes) -> Image.Image:
    if not data:
        raise BadFile("empty")
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:  # Pillow's readers raise whatever their format's damage leads to
        raise BadFile(f"not readable as an image ({str(error).split(' <')[0]})") from error
    pixels = np.asarray(image)
    if image.mode == "F" or (image.mode == "I" and not 0 <= pixels.min() <= pixels.max() <= 65535):
        raise BadFile(f"of mode {image.mode}, whose range is not known")
    return image


def _channels(image: Image.Image, channels: int) -> Tensor:
    """Shape (channels, H, W) in [0, 1]."""
    if image.mode.startswith("I"):
        grey = torch.from_numpy(np.asarray(image).astype(np.float32) / 65535)
        return grey.expand(channels, *grey.shape)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels.reshape(image.height, image.width, channels)).permute(2, 0, 1)
