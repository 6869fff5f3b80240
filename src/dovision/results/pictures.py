"""Pictures of a few samples, kept in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from dovision.atomic import replacing
from dovision.inputs import images

MAPS = "maps"  # the folder inside a run directory
PLAIN = str.maketrans("=/", "--")  # of an arm's name what a file's name should not hold

Picture = npt.NDArray[np.uint8]  # (H, W) or (H, W, 3)


def image_path(folder: Path, sample: int, arm: str) -> Path:
    """Where the picture of a sample in an arm lies, such as maps/3_eps-0.1.png and maps/3_eps-8-255.png."""
    return folder / MAPS / f"{sample}_{arm.translate(PLAIN)}.png"


def kept_samples(folder: Path, arms: Sequence[str]) -> list[int]:
    """The samples of which a run has kept a picture in each of the arms, in order."""
    samples = {int(path.name.split("_")[0]) for path in (folder / MAPS).glob("*_*.png")}
    return sorted(sample for sample in samples if all(image_path(folder, sample, arm).is_file() for arm in arms))


def save_image(path: Path, image: Tensor) -> None:
    """Save one image in [0, 1], shape (1, H, W) or (3, H, W), rounded to 8 bits, as PNG; makes the folder.

    Raises:
        ValueError: the image has another number of channels.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a picture must have shape (1, H, W) or (3, H, W), got {tuple(image.shape)}.")
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).squeeze(-1).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")


def load_image(path: Path) -> Picture:
    """A picture saved by `save_image`."""
    return np.asarray(images.read(path))
