"""Channels follow from the files, for every dataset of files, and grey is what is asked for."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dovision as dv
from dovision.datasets import _image_io
from made_datasets import OF_FILES

SIZE = (12, 10)
GREY = np.arange(120, dtype=np.uint8).reshape(12, 10) * 2
HUE = np.stack([GREY, GREY, 255 - GREY], axis=-1)


def encoded(mode: str, colour: bool, kind: str = "PNG") -> bytes:
    """An image of a mode whose pixels are grey or in colour."""
    image = Image.fromarray(HUE if colour else np.repeat(GREY[..., None], 3, axis=-1))
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    data = io.BytesIO()
    (deep if mode == "I;16" else image.quantize() if mode == "P" else image.convert(mode)).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "colour"),
    [
        *((mode, "PNG", False) for mode in ("1", "L", "LA", "I;16", "RGB", "RGBA", "P")),
        *((mode, kind, False) for mode in ("L", "RGB", "CMYK") for kind in ("JPEG", "TIFF")),
        *((mode, "PNG", True) for mode in ("RGB", "RGBA", "P")),
        *((mode, "JPEG", True) for mode in ("RGB", "CMYK")),
        ("RGB", "WEBP", True),
        ("RGB", "WEBP", False),
    ],
)
def test_pixels_of_any_mode_decide_what_is_in_colour(tmp_path, mode, kind, colour):
    (tmp_path / "a.png").write_bytes(encoded(mode, colour, kind))
    assert _image_io.Decoding().header(tmp_path / "a.png").colour is colour
    assert _image_io.channels_of([tmp_path / "a.png"], lambda path: _image_io.pixels(path, 3)) == (3 if colour else 1)


def opened(root: Path, name: str, coloured: float, channels: int | None):
    """A dataset of 40 files of which a share is in colour."""
    hues = [(HUE if number < 40 * coloured else np.repeat(GREY[..., None], 3, -1)) + number for number in range(40)]
    settings = OF_FILES[name](root, [pixels.astype(np.uint8) for pixels in hues])
    return dv.component("dataset", name, {**settings, "shape": [channels, *SIZE]})


@pytest.mark.parametrize("name", OF_FILES)
@pytest.mark.parametrize(("coloured", "channels"), [(0, 1), (1, 3), (0.5, 3)], ids=["grey", "colour", "mixture"])
def test_datasets_of_files_have_the_channels_of_their_files(tmp_path, name, coloured, channels):
    images = opened(tmp_path, name, coloured, None)
    assert images.shape == images.split("test")[0].image.shape == (channels, *SIZE)


@pytest.mark.parametrize("name", ["image_folder", "table"])
def test_colour_that_is_read_as_grey_is_said(tmp_path, caplog, name):
    assert opened(tmp_path, name, 0.25, 1).shape == (1, *SIZE)
    assert "10 of 40 images are in colour and are read as grey. Set 'dataset.shape=[3,12,10]'" in caplog.text
