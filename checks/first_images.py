"""Are the first 100 images a sample? An image folder sorted by class, `evaluation.images=100` against all images.

    python checks/first_images.py --quick      3 seeds, a minute
    python checks/first_images.py              20 seeds

A folder of drawn solar cells, one in four of which has a defect, is written with all cells of a class one after the
other. For each seed a classifier is fitted and evaluated by dovision-evaluate on the first 100 test images and on all
of them; the two intervals of the accuracy must overlap. Beside them stands what the first 100 files would have said.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dovision.cli.evaluate import main as evaluate

CELLS = {"defect": 0.25, "intact": 0.75}  # shares; in the order of the files
SIZES = {"train": 400, "val": 100, "test": 500}
FIRST = 100


def write_folder(root: Path, seed: int) -> None:
    """Cells of 28 x 28 pixels with a grid of contacts; a defect is a dark blot, often too faint to be seen."""
    random = np.random.default_rng(seed)
    for split, images in SIZES.items():
        for name, share in CELLS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(round(share * images)):
                Image.fromarray(_cell(name == "defect", random)).save(folder / f"cell{number:04}.png")


def _cell(defect: bool, random: np.random.Generator) -> np.ndarray:
    cell = 0.7 + random.normal(0, 0.08, (28, 28))
    cell[::6] -= 0.2
    if defect:
        top, left = random.integers(0, 22, 2)
        cell[top : top + 6, left : left + 6] -= random.uniform(0, 0.5)
    return (cell.clip(0, 1) * 255).astype(np.uint8)


def run(root: Path, folder: Path, seed: int, images: int | None) -> Path:
    """The run directory of an evaluation."""
    name = f"{seed}-{images or 'all'}"
    overrides = [
        *("dataset=image_folder", f"dataset.root={folder}", "dataset.classes=[defect,intact]"),
        *("dataset.shape=[1,28,28]", f"seed={seed}", "training.classifier.epochs=6", "evaluation.num_thumbnails=0"),
        *("intervention.rows=1", "intervention.columns=1", f"output_root={root}", f"name={name}"),
        f"evaluation.images={images or 'null'}",
    ]
    sys.argv = ["dovision-evaluate", *overrides]
    evaluate()
    (summary,) = (root / name).glob("*/summary.json")
    return summary.parent


def accuracy(run: Path) -> tuple[float, float, float]:
    found = json.loads((run / "summary.json").read_text())["conditions"]["clean"]["accuracy"]
    return found["estimate"], found["low"], found["high"]


def compare(seed: int) -> tuple[bool, str]:
    """Whether the two intervals overlap, and a row of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_folder(root / "cells", seed)
        few, every = (run(root, root / "cells", seed, images) for images in (FIRST, None))
        (some, low, high), (whole, least, most) = accuracy(few), accuracy(every)
        by_file = pd.read_parquet(every / "samples.parquet").sort_values("name").head(FIRST)
        defects = int((pd.read_parquet(few / "samples.parquet")["label"] == 0).sum())
    overlap = low <= most and least <= high
    shown = f"{some:.3f} [{low:.3f}, {high:.3f}]   {defects:3} of {FIRST}   {whole:.3f} [{least:.3f}, {most:.3f}]"
    return overlap, f"{seed:4}   {shown}   {'yes' if overlap else 'NO':7}   {by_file['correct'].mean():.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 seeds in place of 20")
    seeds = 3 if parser.parse_args().quick else 20
    found, rows = zip(*map(compare, range(seeds)), strict=True)
    print(
        "seed   first 100              defects      all images             overlap   the first 100 files",
        *rows,
        sep="\n",
    )
    print(f"{sum(found)} of {seeds} pairs of intervals overlap")
    sys.exit(not all(found))


if __name__ == "__main__":
    main()
