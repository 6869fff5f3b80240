"""A few birds of flat colours in the published layout of FunnyBirds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = {"beak": (2, 4, 6, 8), "foot": (20, 8, 26, 12), "wing": (10, 10, 16, 22)}  # top, left, bottom, right
SIZE = 32  # pixels


def picture(seed: int, colour: int, kept, objects: int = 2) -> np.ndarray:
    """A bird of the parts that are kept, before some objects of the background; RGBA."""
    pixels = np.full((SIZE, SIZE, 4), 255, np.uint8)
    pixels[..., :3] = np.random.default_rng(seed).integers(0, 60, (SIZE, SIZE, 3))
    for number in range(objects):
        pixels[28:31, 4 * number : 4 * number + 3, 2] = 200
    pixels[8:18, 8:20, :3] = 120
    for part in kept:
        top, left, bottom, right = PARTS[part]
        pixels[top:bottom, left:right, :3] = (colour, 255 - colour, 30 * len(part))
    return pixels


def write_birds(root: Path, train: int = 6, test: int = 2, subsets: bool = True) -> Path:
    """Two classes of so many pictures each; of the test with all removals of parts, or with those of one part alone.

    The foot of the first test bird is hidden, its removal changes nothing; object 1 of each background can be removed.
    """
    tables = {
        "classes": [{"class_idx": label, "parts": {}} for label in range(2)],
        "parts": {part: [] for part in PARTS},
    }
    for split, count in (("train", train), ("test", test)):
        tables[f"dataset_{split}"] = [
            {"class_idx": label, "bg_objects": "3,1,"} for label in range(2) for _ in range(count)
        ]
        for number, scene in enumerate(tables[f"dataset_{split}"]):
            label, seed = scene["class_idx"], number + (split == "test") * 1000
            hidden = {"foot"} if split == "test" and number == 0 else set()
            shown = set(PARTS) - hidden
            save(root / split / str(label) / f"{number:06d}.png", picture(seed, 200 * label, shown))
            if split == "train":
                continue
            folder = root / "test_interventions" / str(label) / f"{number:06d}"
            for size in range(len(PARTS)) if subsets else [len(PARTS) - 1]:
                for kept in itertools.combinations(PARTS, size):
                    save(folder / f"{'_'.join(['body', *kept])}.png", picture(seed, 200 * label, set(kept) - hidden))
            background = folder / "background_interventions"
            save(background / "1.png", picture(seed, 200 * label, shown, objects=1))
            save(background / "all.png", picture(seed, 200 * label, shown, objects=0))
    for name, table in tables.items():
        (root / f"{name}.json").write_text(json.dumps(table))
    return root


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
