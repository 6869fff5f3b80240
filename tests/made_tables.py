"""A small table of images with boxes and masks, whole or with one thing broken."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from dovision.datasets.table import Table

CONFIG = Path(__file__).resolve().parents[1] / "conf" / "dataset" / "table.yaml"
HEADER = ["path", "label", "patient", "split", "left", "top", "right", "bottom", "mask"]
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
HEIGHT, WIDTH = 20, 30


def write_table(root: Path, splits: Sequence[str] = SPLITS) -> Path:
    """Twelve grey images of six patients, a box and a mask of a square in each, and metadata.csv."""
    random = np.random.default_rng(0)
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    rows = []
    for number, split in enumerate(splits):
        pixels = random.integers(0, 100, (HEIGHT, WIDTH), dtype=np.uint8)
        left, top = 2 + number % 4, 3
        square = np.s_[top : top + 8, left : left + 10]
        pixels[square] += 100
        mask = np.zeros_like(pixels)
        mask[square] = 255
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        label = ("cat", "dog")[number % 2]
        own = [f"images/{number}.png", label, f"p{number // 2}", split, left, top, left + 10, top + 8]
        rows.append(list(map(str, [*own, f"masks/{number}.png"])))
    write_csv(root / "metadata.csv", [HEADER, *rows])
    return root


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return [*csv.reader(file)]


def with_cell(root: Path, row: int, column: str, value: str) -> None:
    """Put a value into a cell of metadata.csv; the header is row 1."""
    rows = read_csv(root / "metadata.csv")
    rows[row - 1][rows[0].index(column)] = value
    write_csv(root / "metadata.csv", rows)


def open_table(root: Path, settings: Mapping[str, object] | None = None) -> Table:
    """The dataset of the configuration, with other settings where they are given."""
    own = {"root": str(root), "classes": ["cat", "dog"], "shape": [1, HEIGHT, WIDTH]}
    return instantiate(OmegaConf.merge(OmegaConf.load(CONFIG), own, dict(settings or {})), _convert_="all")
