"""The films of ChestX-ray14: where their files lie, and how one of them is read."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from torch import Tensor

from dovision.datasets import _image_io
from dovision.types import Shape

STATUS = ["bytes", "modified", "replaced"]  # the last two in nanoseconds since 1970, of the content and of the entry


def on_disk(root: Path) -> pd.DataFrame:
    """A row a PNG file: name, path, and its STATUS.

    The files lie in images_001/images, images_002/images, ... as they are released, or all in images.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: two folders hold a file of one name.
    """
    folders = [folder for folder in (*sorted(root.glob("images_*/images")), root / "images") if folder.is_dir()]
    if not folders:
        raise FileNotFoundError(
            f"{root} must hold the films in images_001/images, images_002/images, ... or in images, but has no such "
            "folder. Unpack the archives there, or set dataset.root."
        )
    rows = []
    for folder in folders:
        with os.scandir(folder) as files:
            for file in files:
                if file.name.endswith(".png") and not file.name.startswith("."):
                    status = file.stat()
                    rows.append((file.name, file.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    found = pd.DataFrame(rows, columns=["name", "path", *STATUS])
    twice = found["name"].duplicated(keep=False)
    if twice.any():
        one, other = found[twice].sort_values("name", kind="stable")["path"].iloc[:2]
        raise ValueError(f"each film must lie in one folder, but one lies at {one} and {other}. Remove one of them.")
    return found


def read_film(path: Path, shape: Shape) -> Tensor:
    """A film made grey, and repeated for three channels; shape `shape`, float in [0, 1].

    Raises:
        ValueError: the file is no whole image, or not a square as each released film is, so that boxes would not fit.
    """
    film = _image_io.pixels(path, 1)
    _, height, width = film.shape
    if height != width:
        raise ValueError(
            f"{path} must be a square, as the films of ChestX-ray14 are, got {height} x {width} pixels. Take the film "
            "as it was released, or made smaller as a whole."
        )
    return _image_io.repeat_grey(film, shape)
