"""The numbers behind the page's explorer: a few images of each run, with the effect of each unit on each class."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.geometry import bounding_box
from dovision.io import files, images
from dovision.report.inline_assets import SizeBudget, picture_link
from dovision.report.report_figure import label_names
from dovision.store.map_tables import known_boxes
from dovision.store.run_record import Run
from dovision.store.tables import largest_effect, likeliest_word, read_effects, read_samples, read_task
from dovision.store.thumbnails import load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.store.unit_masks import UnitMasks, masks_of, packed, read_masks, read_object_masks
from dovision.types import Box, Mask

MOST_CLASSES = 14  # those on which a unit of the image has the largest effects; the likeliest one is always there
STEPS = 32767  # effects are carried as whole numbers of 16 bits, in shares of the largest one


def explorer(runs: Sequence[Run], allowance: SizeBudget) -> list[dict[str, Any]]:
    """An entry per (run, image), the first image of each run, then the second of each, as long as they fit.

    Returns:
        job, image, label, "" if it has none; word, before the likeliest class;
        classes, units, boxes (top, left, bottom, right of each unit, or None), masks (of each unit
        the pixels of its box that it touches, bits row by row in base64, or None for all), size (height, width);
        objects, those that are known of the image: name, label (the class that it speaks for, or None), box, and mask
        as of the units;
        scale (the size of effect that has the deepest colour: the largest of all saved images, conditions and classes
        of the job);
        conditions: name, picture (a data: address), control (per class), largest, effects (units x classes,
        little-endian 16-bit numbers in base64, in shares of `largest`).
    """
    found: list[dict[str, Any]] = []
    waiting = [_entries(run) for run in runs]
    while waiting:
        entries = [(own, next(own, None)) for own in waiting]
        fitting = [(own, entry) for own, entry in entries if entry is not None and allowance.take(json.dumps(entry))]
        found += [entry for _, entry in fitting]
        waiting = [own for own, _ in fitting]
    return found


def _entries(run: Run) -> Iterator[dict[str, Any]]:
    samples = read_samples(run.folder)
    conditions = list(samples["condition"].unique())
    pictured = samples_in_conditions(run.folder, conditions)
    if not pictured:
        return
    masks, boxes, objects = read_masks(run.folder), known_boxes(run.folder), read_object_masks(run.folder, pictured)
    scale = largest_effect(read_effects(run.folder, pictured))
    for sample in pictured:
        effects = read_effects(run.folder, [sample])
        if len(effects):
            entry = _entry(run, samples[samples["sample"] == sample], effects, scale, masks)
            yield entry | {"objects": _objects(boxes[boxes["sample"] == sample], objects.get(sample, {}))}


def _entry(run: Run, samples: pd.DataFrame, effects: pd.DataFrame, scale: float, masks: UnitMasks) -> dict[str, Any]:
    names = read_task(run.folder).classes
    units = effects.drop_duplicates("unit")
    strongest = effects["effect"].abs().groupby(effects["class"], sort=False).max().nlargest(MOST_CLASSES, keep="first")
    predicted = effects.loc[effects.groupby("condition", sort=False)["control"].idxmax(), "class"]
    classes = [name for name in names if name in {*strongest.index, *predicted}]
    boxes = units[list(Box._fields)]
    first = samples.iloc[0]
    picture = load_thumbnail(thumbnail_path(run.folder, int(first["sample"]), first["condition"]))
    return {
        "job": run.label,
        "image": str(first["name"]),
        "label": label_names(first["label"], names),
        "word": likeliest_word(run.folder),
        "classes": classes,
        "units": units["unit"].tolist(),
        "size": list(picture.shape[:2]),
        "scale": float(f"{scale:.6g}"),
        "boxes": None if boxes.isna().any(axis=None) else boxes.astype(int).to_numpy().tolist(),
        "masks": [None if mask is None else _base64(packed(mask)) for mask in masks_of(units, masks)],
        "conditions": [
            _condition(run, row, effects[effects["condition"] == row["condition"]], units["unit"], classes)
            for _, row in samples.iterrows()
        ],
    }


def _objects(boxes: pd.DataFrame, masks: Mapping[str, Mask]) -> list[dict[str, Any]]:
    """Known objects; a mask that has the name of a class is in place of the boxes that speak for that class."""
    shown = boxes[~boxes["label"].isin(list(masks))]
    found: list[dict[str, Any]] = [
        {"name": name, "label": label, "box": list(map(int, box)), "mask": None}
        for name, label, *box in shown[["object", "label", *Box._fields]].itertuples(index=False)
    ]
    for name, mask in masks.items():
        box = bounding_box(mask)
        found.append({"name": name, "label": name, "box": list(box), "mask": _base64(packed(mask[box.slices]))})
    return found


def _condition(
    run: Run, row: pd.Series[Any], effects: pd.DataFrame, units: pd.Series[str], classes: list[str]
) -> dict[str, Any]:
    table = effects.pivot(index="unit", columns="class", values="effect").loc[units, classes].to_numpy(float)
    control = effects.drop_duplicates("class").set_index("class")["control"]
    largest = float(np.nanmax(np.abs(table))) or 1.0
    numbers = np.nan_to_num(np.round(table / largest * STEPS)).astype("<i2")
    picture = thumbnail_path(run.folder, int(row["sample"]), row["condition"])
    return {
        "name": str(row["condition"]),
        "picture": picture_link(files.read_bytes(picture, images.MAX_FILE_BYTES)),
        "control": [round(float(control[name]), 5) for name in classes],
        "largest": float(f"{largest:.6g}"),
        "effects": _base64(numbers.tobytes()),
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
