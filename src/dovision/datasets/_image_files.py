"""Files of images, decoded once to separate the whole ones from the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dovision.datasets import _image_io
from dovision.io import files, images
from dovision.runtime.progress import DISPLAY


def decode_files(paths: Sequence[Path], names: Sequence[str]) -> list[_image_io.ImageHeader | str]:
    """The header of each file, or what is wrong with it, by its name; with a progress bar."""

    def decode(path: Path, name: str) -> _image_io.ImageHeader | str:
        try:
            return _image_io.decoded_header(files.read_bytes(path, images.MAX_FILE_BYTES), name)
        except ValueError as error:
            return f"{name}: {error}"

    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
        return list(DISPLAY.track(pool.map(decode, paths, names), "checking images", "files", len(names)))
