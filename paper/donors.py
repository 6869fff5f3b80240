"""Content of other photographs, as a fill: what single_deletion swaps patches with; a component of a user.

DONORS=donors.txt PYTHONPATH=. dovision-evaluate --config-dir paper/conf experiment=photo_swaps dataset.root=tested
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from dovision.interfaces import Context
from dovision.interventions.fills import ImageFill

DRAWS = 8  # photographs that a sample can be given


class Donor(ImageFill):
    """The same place of another photograph, one a sample.

    Args:
        files: a list of the photographs, a path a line; at least 8, none of which is tested itself.
        draw: which of the 8 of a sample.

    Raises:
        ValueError: the list is shorter.
    """

    def __init__(self, files: str, draw: int) -> None:
        self.files, self.draw = files, draw

    def canvas(self, value: Tensor, context: Context) -> Tensor:
        paths = Path(self.files).read_text(encoding="utf-8").split()
        if len(paths) < DRAWS:
            raise ValueError(f"files must list at least {DRAWS} photographs, got {len(paths)}.")
        numbers = [(DRAWS * sample + self.draw) % len(paths) for sample in context.batch.sample.tolist()]
        return torch.stack([_photograph(paths[number], value.shape[-1]) for number in numbers]).to(value)


@lru_cache(maxsize=512)
def _photograph(path: str, side: int) -> Tensor:
    """Central square of a photograph, shape (3, side, side), in [0, 1]."""
    with Image.open(path) as image:
        resized = v2.functional.resize(image.convert("RGB"), [side * 8 // 7])
    return v2.functional.to_dtype(v2.functional.pil_to_tensor(v2.functional.center_crop(resized, [side])), scale=True)
