"""Images of files of any usual kind, and of arrays of grey bytes, in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dovision.datasets import _checks
from dovision.functional import geometry
from dovision.io import images
from dovision.io.arrays import FileArray
from dovision.io.images import BadFile
from dovision.types import Shape


def grey_or_rgb_shape(stated: Sequence[int]) -> Shape:
    """The stated image shape (C, H, W), of 1 or 3 channels."""
    whole = _checks.image_shape(stated)
    if whole[0] not in (1, 3):
        raise ValueError(f"shape must have 1 (grey) or 3 (RGB) channels, got {list(whole)!r}.")
    return whole


def decoded_size(data: bytes) -> tuple[int, int]:
    """Height and width of the image in a file's bytes, which is decoded to its end; BadFile if it cannot be."""
    image = _known(images.decode(data))
    return image.height, image.width


def image_from_file(path: Path, shape: Shape) -> Tensor:
    """The image, shape `shape`, float in [0, 1]: made grey or RGB, resized to cover the shape, its centre taken."""
    return resize_to_cover(pixels(path, shape[0]), shape)


def pixels(path: Path, channels: int) -> Tensor:
    """The image as it is in the file, made grey or RGB, shape (channels, H, W), float in [0, 1].

    Grey is the luma of ITU-R 601; transparency is dropped; 16-bit files keep their depth.
    """
    try:
        return _channels(_known(images.open_image(path)), channels)
    except BadFile as error:
        raise ValueError(f"{path} must be a whole image, but is {error}.") from error


def of_pil(image: Image.Image, shape: Shape) -> Tensor:
    """A PIL image, brought to a shape as one from a file is."""
    try:
        return resize_to_cover(_channels(_known(image), shape[0]), shape)
    except BadFile as error:
        raise ValueError(f"an image must have pixels of a known range, but is {error}.") from error


@dataclass(frozen=True)
class FromFiles:
    """Images, each read from its file when it is asked for."""

    paths: list[str]
    read: Callable[[Path], Tensor]

    def __call__(self, row: int) -> Tensor:
        return self.read(Path(self.paths[row]))


@dataclass(frozen=True)
class FromArray:
    """Rows of an array of grey bytes, shape (N, H, W), fitted to a shape and repeated for its channels."""

    images: FileArray
    rows: npt.NDArray[np.intp] | range
    shape: Shape

    def __call__(self, row: int) -> Tensor:
        image = torch.from_numpy(self.images.array[self.rows[row]].astype(np.float32)) / 255
        return repeat_grey(image.unsqueeze(0), self.shape)


def repeat_grey(image: Tensor, shape: Shape) -> Tensor:
    """A grey image, shape (1, H, W), fitted to `shape` and repeated for its channels."""
    return resize_to_cover(image, (1, *shape[1:])).repeat(shape[0], 1, 1)


def resize_to_cover(value: Tensor, shape: Shape) -> Tensor:
    """An image, shape (C, H, W), resized with antialiasing to cover `shape`, and its centre taken."""
    where = geometry.central_fit(value.shape[1], value.shape[2], shape)
    if where.resized != where.source:
        value = F.interpolate(value.unsqueeze(0), size=where.resized, mode="bilinear", antialias=True)[0]
    return where.window.crop(value).clamp(0, 1).contiguous()


def _known(image: Image.Image) -> Image.Image:
    """The image, unless the range of its numbers is not known."""
    whole = np.asarray(image) if image.mode == "I" else np.zeros(1)
    if image.mode == "F" or whole.min() < 0 or whole.max() > 65535:
        raise BadFile(f"of mode {image.mode}, whose range is not known")
    return image


def _channels(image: Image.Image, channels: int) -> Tensor:
    """Shape (channels, H, W) in [0, 1]."""
    if image.mode.startswith("I"):
        grey = torch.from_numpy(np.asarray(image).astype(np.float32) / 65535)
        return grey.expand(channels, *grey.shape)
    values = torch.from_numpy(np.array(image.convert("L" if channels == 1 else "RGB")))
    return values.reshape(image.height, image.width, channels).permute(2, 0, 1).float().div_(255)
