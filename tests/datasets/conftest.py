"""Small files that tests of several datasets read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_folder(root: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(10):
            pixels = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"patient{number // 2}-{name}-{number}.png")
    return root


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Path:
    """Ten 20 x 30 PNG files in each of the classes cat and dog, without folders for the splits."""
    return write_folder(tmp_path)
