"""A few birds of flat colours in the published layout of FunnyBirds, and a run on birds that was made up by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image

from dovision.analysis.summary import write_summary
from dovision.store.map_tables import MAPS_FILE, maps_schema, write_boxes
from dovision.store.run_directory import RunDirectory
from dovision.store.run_record import Run, read_sweep
from dovision.store.tables import EFFECTS, SAMPLES, TableWriter, effects_schema, samples_schema
from dovision.store.to_arrow import done_rows, effect_columns, mean_effects, sample_columns
from dovision.types import BOX_COLUMNS, Batch, Box, Task

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


QUARTERS = {"beak": Box(0, 0, 8, 8), "wing": Box(0, 8, 8, 16), "foot": Box(8, 0, 16, 8), "tail": Box(8, 8, 16, 16)}
WEIGHTS = {"beak": 10.0, "wing": 20.0, "foot": 30.0, "tail": 40.0}  # what each part adds to the logit of class a
MODELS = {
    "a": dict.fromkeys(QUARTERS, 0),
    "b": {"beak": 0, "wing": 0, "foot": 1, "tail": 1},
    "c": {"beak": 2, "wing": 2, "foot": 0, "tail": 0},
}
TASK = Task("multiclass", tuple(MODELS))


def write_bird_run(folder: Path, images: int = 6) -> Run:
    """A completed run on birds of class a, that shares beak and wing with b, foot and tail with c.

    A part adds its weight to a, and 2 to the class that shares it. In the first image, which is predicted as b, foot
    and tail add 5 to b besides. Without background0 nothing changes, without background1 the last two images lose a.
    The map `good` has the weights of the parts, `bad` their inverse.
    """
    run = RunDirectory(folder)
    record = {"seed": 0, "dataset": {"parts": MODELS}}
    run.start({"name": "birds", "seed": 0, "dataset": {"_target_": "birds"}}, (), record)
    units = [*QUARTERS, "background0", "background1"]
    regions = [*QUARTERS.values(), Box(0, 0, 2, 2), Box(14, 14, 16, 16)]
    control = torch.tensor([[60.0, 0.0, 0.0]] * images)
    control[0, 1] = 61
    treated = control.unsqueeze(1).repeat(1, len(units), 1)
    for number, part in enumerate(QUARTERS):
        treated[:, number, 0] -= WEIGHTS[part]
        treated[:, number, 1 if MODELS["b"][part] == 0 else 2] -= 2
    treated[0, 2:4, 1] -= 5
    treated[-2:, 5, 0] -= 70
    sample = torch.arange(images)
    image = torch.rand(images, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = Batch(image, torch.zeros(images, dtype=torch.long), sample, sample)
    measured = {"task": TASK, "control_logits": control, "treated_logits": treated}
    with TableWriter(folder / SAMPLES, samples_schema(TASK)) as table:
        names = [f"bird {row}" for row in range(images)]
        columns = {"batch": batch, "names": names, "task": TASK, "logits": control}
        table.write(sample_columns(condition="clean", eps=0.0, **columns, means=mean_effects(control, treated, TASK)))
    with TableWriter(folder / EFFECTS, effects_schema()) as table:
        places = [regions] * images
        table.write(
            done_rows(effect_columns(condition="clean", sample=sample, units=units, regions=places, **measured))
        )
    spoken = {unit: "a" if unit in QUARTERS else None for unit in units}
    boxes = [(row, unit, spoken[unit], *box) for row in range(images) for unit, box in zip(units, regions, strict=True)]
    write_boxes(folder, pd.DataFrame(boxes, columns=BOX_COLUMNS))
    schema = maps_schema(4, 4, 16, 16, 1, "good")
    with TableWriter(folder / MAPS_FILE, schema) as table:
        table.write(pa.RecordBatch.from_pylist(list(_maps(images)), schema=schema))
    write_summary(folder)
    run.complete({})
    (found,) = read_sweep(folder)
    return found


def _maps(images: int) -> Iterator[dict[str, object]]:
    for sample in range(images):
        for explainer, power in (("good", 1), ("bad", -1)):
            cells = np.zeros((4, 4))
            for part, box in QUARTERS.items():
                cells[box.top // 4 : box.bottom // 4, box.left // 4 : box.right // 4] = WEIGHTS[part] ** power
            facts = {"sample": sample, "group": sample, "explainer": explainer, "class": "a", "variant": "as is"}
            yield facts | {"correct": sample > 0, "state": "ok", "cells": cells.ravel()}
