"""Image files of every mode, by hand-made pixels."""

import io
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import dovision as dv
from dovision.api import to_batch
from dovision.datasets import _image_io
from made_datasets import OF_FILES

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [51, 102, 153]]], np.uint8)
DEEP = np.array([[0, 1], [32768, 65535]], np.uint16)


def saved(image: Image.Image, tmp_path, name="a.png"):
    image.save(tmp_path / name)
    return tmp_path / name


def test_colours_are_kept_or_made_grey_by_luma(tmp_path):
    path = saved(Image.fromarray(COLOURS), tmp_path)
    assert torch.equal(_image_io.pixels(path, 3), torch.from_numpy(COLOURS).permute(2, 0, 1) / 255)
    luma = torch.tensor([[0.299, 0.587], [0.114, 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6]])
    torch.testing.assert_close(_image_io.pixels(path, 1)[0], luma, atol=0.003, rtol=0)


def test_sixteen_bits_keep_their_depth(tmp_path):
    path = saved(Image.fromarray(DEEP), tmp_path)
    expected = torch.from_numpy(DEEP.astype(np.float32)) / 65535
    assert torch.equal(_image_io.pixels(path, 1)[0], expected)
    assert torch.equal(_image_io.pixels(path, 3), expected.expand(3, 2, 2))


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"not an image", "not readable as an image .BMP, GIF, JPEG, PNG, PPM, TIFF or WEBP; convert"),
        (encoded(NOISE, "JPEG")[:-600], "not readable as an image .image file is truncated"),
        (encoded(NOISE, "PNG")[:2000], "not readable as an image .Truncated File Read"),
        (encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "of mode F, whose range is not known"),
    ],
    ids=["empty", "text", "truncated JPEG", "truncated PNG", "float TIFF"],
)
def test_what_is_no_whole_image_is_a_bad_file(data, message, tmp_path):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(_image_io.BadFile, match=message):
        _image_io.Decoding().header(tmp_path / "a")


@pytest.mark.parametrize(
    ("highs", "stated", "level"),
    [
        ([4000, 900], [0, 0], 4095),
        ([900, 200], [0, 12], 4095),  # what a file states counts, where its values fit
        ([40000, 200], [12, 0], 65535),  # the file's values were scaled to 16 bits, as the standard has it
        ([1024], [0], 4095),
        ([1023], [0], 1023),
        ([16383], [0], 16383),
        ([16384], [0], 65535),
        ([255], [0], 255),
    ],
)
def test_white_is_the_least_usual_level_that_holds_all_values(caplog, highs, stated, level):
    ranges = [_image_io.DeepRange(0, high, bits) for high, bits in zip(highs, stated, strict=True)]
    assert _image_io.white_level(ranges) == level
    assert (f"{level} becomes 1 in images of more than 8 bits" in caplog.text) == (level < 65535)


FILM = np.linspace(0, 4000, 64).reshape(8, 8).astype(np.uint16)
TWELVE = torch.from_numpy(FILM.astype(np.float32) / 4095)[None]


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("group", OF_FILES)
def test_films_of_12_bits_in_files_of_16_are_read_as_they_are_in_every_dataset(tmp_path, caplog, group, ending):
    films = np.stack([FILM] * 16)
    films[:, 0, 0] = np.arange(1, 17)
    settings = OF_FILES[group](tmp_path, films, ending) | {"shape": [1, 8, 8]}
    dataset = dv.component("dataset", group, settings)
    torch.testing.assert_close(dataset.split("test")[0].image[:, 1:], TWELVE[:, 1:])
    assert caplog.text.count("4095 becomes 1 in images of more than 8 bits, since the largest value of ") == 1
    stated = dv.component("dataset", group, settings | {"white_level": 65535})
    torch.testing.assert_close(stated.split("test")[0].image[:, 1:], TWELVE[:, 1:] * 4095 / 65535)
    assert stated.fingerprint != dataset.fingerprint
    with pytest.raises(ValueError, match="of values up to 4000, above white, 1023: set dataset.white_level=65535"):
        dv.component("dataset", group, settings | {"white_level": 1023}).split("test")[0]


def test_films_of_12_bits_are_read_as_they_are_in_a_notebook(tmp_path):
    Image.fromarray(FILM).save(tmp_path / "a.png")
    Image.fromarray(FILM // 8).save(tmp_path / "b.png")
    both = torch.stack([TWELVE, torch.from_numpy((FILM // 8).astype(np.float32))[None] / 4095])
    for images in (tmp_path, str(tmp_path), [tmp_path / "a.png", Image.open(tmp_path / "b.png")]):
        torch.testing.assert_close(to_batch(images, channels=1), both)
    torch.testing.assert_close(to_batch(Image.open(tmp_path / "a.png"), channels=1)[0], TWELVE)
    held = dv.HeldImages([(tmp_path / "a.png", 0), (tmp_path / "b.png", 1)])
    order = held.table("test")["name"].argsort().tolist()
    torch.testing.assert_close(held.split("test").batch(order).image, both)


def test_the_bits_that_a_file_states_are_read(tmp_path):
    """Pillow leaves sBIT out; it keeps a TIFF's tags."""
    Image.fromarray(FILM // 8).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"sBIT", bytes([12])) + data[33:])  # behind the header
    Image.fromarray(FILM // 8).save(tmp_path / "b.tif", tiffinfo={281: 4095})
    for name in ("a.png", "b.tif"):
        assert _image_io.Decoding().header(tmp_path / name).deep == (0, 500, 12)


def chunk(name: bytes, content: bytes) -> bytes:
    """A piece of a PNG."""
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


@pytest.mark.parametrize(("value", "dark"), [(4095, True), (65535, False)])
def test_dark_colours_of_16_bits_of_which_8_are_read_are_refused(tmp_path, value, dark):
    """One pixel of RGB, of 16 bits a channel."""
    header = chunk(b"IHDR", (1).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0]))
    pixel = chunk(b"IDAT", zlib.compress(b"\0" + value.to_bytes(2, "big") * 3))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b""))
    if not dark:
        assert _image_io.pixels(tmp_path / "a.png", 3).unique().tolist() == [1]
        return
    with pytest.raises(ValueError, match="of 16 bits a channel, of which the upper 8 are read, and all below 64"):
        _image_io.pixels(tmp_path / "a.png", 3)


@pytest.mark.parametrize(
    ("resize", "expected"),
    [
        ("cover", [v2.Resize(24), v2.CenterCrop(24)]),
        ("stretch", [v2.Resize((24, 24))]),
        ({"size": 28, "interpolation": "bicubic"}, [v2.Resize(28, v2.InterpolationMode.BICUBIC), v2.CenterCrop(24)]),
        ({"mode": "stretch", "size": 28}, [v2.Resize((28, 28)), v2.CenterCrop(24)]),
    ],
)
def test_a_picture_is_brought_to_a_shape_as_torchvision_does(resize, expected):
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((80, 60), Image.Resampling.BILINEAR)
    by_torchvision = v2.Compose([*expected, v2.PILToTensor()])(picture) / 255
    ours = to_batch(picture, 24, resize=resize)[0]
    torch.testing.assert_close(ours, by_torchvision, rtol=0, atol=1.5 / 255)  # rounded to 8 bits after each side
