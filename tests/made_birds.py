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
from dovision.store.map_tables import MAPS_FILE, PART_COLUMNS, PART_THRESHOLDS, maps_schema, write_boxes
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


TASK = Task("multiclass", ("a", "b"))


def write_bird_run(folder: Path, images: int = 6) -> Run:
    """A completed run on birds of class a, the first of which is predicted as b, with scores of two maps by parts.

    Of the first 40 thresholds the map `good` has 1 and of the others 0.5 in controlled check, and in preservation check
    by turns 1 and 0; no picture shows the deletion check of the first image. It names no irrelevant part important, in
    half of the others all of them; `bad` scores 0 throughout. Each scene has three objects in its background, two of
    which can be left out; without one of them the last two images lose their class.
    """
    run = RunDirectory(folder)
    run.start({"name": "birds", "seed": 0, "dataset": {"_target_": "birds"}}, (), {"seed": 0})
    logits = torch.tensor([[4.0, 0.0]] * images)
    logits[0, 1] = 5
    sample = torch.arange(images)
    batch = Batch(torch.rand(images, 3, 16, 16), torch.zeros(images, dtype=torch.long), sample, sample)
    with TableWriter(folder / SAMPLES, samples_schema(TASK)) as table:
        names = [f"bird {row}" for row in range(images)]
        columns = {"batch": batch, "names": names, "task": TASK, "logits": logits}
        means = mean_effects(logits, logits.unsqueeze(1), TASK)
        table.write(sample_columns(condition="clean", eps=0.0, **columns, means=means))
    measured = {"task": TASK, "control_logits": logits, "treated_logits": logits.unsqueeze(1)}
    with TableWriter(folder / EFFECTS, effects_schema()) as table:
        places = [[Box(0, 0, 8, 8)]] * images
        rows = effect_columns(condition="clean", sample=sample, units=["r0c0"], regions=places, **measured)
        table.write(done_rows(rows))
    write_boxes(folder, pd.DataFrame([(0, "beak", "a", 0, 0, 8, 8)], columns=BOX_COLUMNS))
    schema = maps_schema(4, 4, 16, 16, 1, "good", PART_COLUMNS)
    with TableWriter(folder / MAPS_FILE, schema) as table:
        table.write(pa.RecordBatch.from_pylist(list(_maps(images)), schema=schema))
    write_summary(folder)
    run.complete({})
    (found,) = read_sweep(folder)
    return found


def _maps(images: int) -> Iterator[dict[str, object]]:
    low = np.arange(len(PART_THRESHOLDS)) < 40
    for sample in range(images):
        for explainer, good in (("good", 1), ("bad", 0)):
            facts = {"sample": sample, "group": sample, "explainer": explainer, "class": "a", "variant": "as is"}
            scores = {
                "controlled_check": good * np.where(low, 1, 0.5) if sample else None,
                "preservation_check": np.full(len(low), good * float(sample % 2)),
                "deletion_check": np.full(len(low), np.nan if sample == 0 else good),
                "distractibility": np.where(low, 1 - good, 1 - good / 2),
                "part_deletion": float(good),
                "target_sensitivity": None,
                "background_objects": 3,
                "background_drawn": 2,
                "background_relevant": int(sample >= images - 2),
            }
            cells = np.full(16, 1.0 + good)
            yield facts | {"correct": sample > 0, "state": "ok", "cells": cells} | scores
