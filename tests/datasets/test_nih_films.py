"""Search for films, and reading of one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dovision.datasets import _image_io, _nih_films

GREY = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
RGBA = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 9)])
RGB = np.dstack([GREY, GREY, GREY])
DEEP = GREY.astype(np.uint16) * 257  # the same greys at 16 bits


def test_numbered_folders_and_one_flat_folder_hold_the_same_films(nih_root):
    numbered = _nih_films.on_disk(nih_root).sort_values("name")
    (nih_root / "images").mkdir()
    for path in nih_root.glob("images_*/images/*.png"):
        shutil.move(path, nih_root / "images")
    (nih_root / "images" / "._00000001_000.png").write_text("")
    flat = _nih_films.on_disk(nih_root).sort_values("name")
    assert flat["name"].tolist() == numbered["name"].tolist()
    assert flat["bytes"].tolist() == numbered["bytes"].tolist()


def test_a_film_in_two_folders_is_refused(nih_root):
    (nih_root / "images").mkdir()
    shutil.copy(nih_root / "images_001" / "images" / "00000001_000.png", nih_root / "images")
    with pytest.raises(ValueError, match=r"must lie in one folder, but one lies at .*images_001.* and .*images/"):
        _nih_films.on_disk(nih_root)


def test_a_root_without_films_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold the films in images_001/images.*set dataset.root"):
        _nih_films.on_disk(tmp_path)


@pytest.mark.parametrize("pixels", [GREY, RGB, RGBA, DEEP], ids=["grey", "RGB", "RGBA", "16 bit"])
def test_every_mode_gives_the_same_grey_repeated_for_three_channels(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    film = _nih_films.read_film(tmp_path / "a.png", (3, 32, 32))
    torch.testing.assert_close(film, (torch.from_numpy(GREY) / 255).expand(3, 32, 32))


def test_a_film_is_fitted_as_any_picture(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert torch.equal(
        _nih_films.read_film(tmp_path / "a.png", (1, 24, 20)),
        _image_io.image_from_file(tmp_path / "a.png", (1, 24, 20)),
    )


def test_a_film_that_is_no_square_is_refused(tmp_path):
    Image.fromarray(GREY[:20]).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png must be a square, .* got 20 x 32 pixels"):
        _nih_films.read_film(tmp_path / "a.png", (1, 32, 32))
