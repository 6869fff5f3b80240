"""The numbers behind the page's explorer: a few images of each run, with the effect of each unit on each class."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.effects import CLEAR_ON_LOG_ODDS, SMALL_ON_PROBABILITY
from dovision.functional.geometry import bounding_box
from dovision.io import files, images
from dovision.report.image_overlay import OPAQUE, Values
from dovision.report.inline_assets import SizeBudget, picture_link
from dovision.report.report_figure import label_names
from dovision.results.display_names import display_name
from dovision.results.image_tables import UnitMasks, masks_of, packed, read_box_table, read_masks, read_object_masks
from dovision.results.run_record import Run
from dovision.results.tables import (
    largest_effect,
    largest_log_odds_effect,
    read_effects,
    read_samples,
    read_task,
)
from dovision.results.thumbnails import load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.types import Box, Mask

MOST_CLASSES = 14  # those on which a unit of the image has the largest effects; the likeliest one is always there
STEPS = 32767  # effects are carried as whole numbers of 16 bits, in shares of the largest one
_SCALES = {"effects": "effect", "log_effects": "log_odds_effect"}  # columns of effects.parquet


def explorer(runs: Sequence[Run], allowance: SizeBudget) -> dict[str, Any]:
    """Entries of the page's explorer, one per run and image: each run's first image, then the second, while they fit.

    Returns:
        pictures: data: addresses, each once however many jobs show it.
        saturated, moved: see dovision.functional.effects; opaque: of the largest effect.
        entries: of each, job, image, label, "" if it has none;
            classes, units, boxes (top, left, bottom, right of each unit, or None), masks (of each unit
            the pixels of its box that it touches, bits row by row in base64, or None for all), size (height, width);
            objects, those that are known of the image: name, label (the class that it speaks for, or None), box, and
            mask as of the units;
            scale and log_scale, the sizes of effect that have the deepest colour: the largest of all saved images and
            conditions of the job, on the probability of any class and on the log-odds of the likeliest one;
            conditions: name, picture (its place in pictures), correct, success (true, false, or None where unknown),
            control (per class), effects and log_effects (each with its largest, and units x classes, little-endian
            16-bit numbers in base64, in shares of it).
    """
    number_by_picture: dict[str, int] = {}
    entries: list[dict[str, Any]] = []
    waiting = [_entries(run) for run in runs]
    while waiting:
        fitting: list[Iterator[dict[str, Any]]] = []
        for of_run in waiting:
            entry = next(of_run, None)
            if entry is None:
                continue
            pictures = [condition["picture"] for condition in entry["conditions"]]
            added = {*pictures} - number_by_picture.keys()  # which no other entry has shown
            if not allowance.take_bytes(len(json.dumps(entry)) - sum(map(len, pictures)) + sum(map(len, added))):
                fitting = []
                break
            for condition in entry["conditions"]:
                picture = condition["picture"]
                condition["picture"] = number_by_picture.setdefault(picture, len(number_by_picture))
            entries.append(entry)
            fitting.append(of_run)
        waiting = fitting
    limits = {"saturated": SMALL_ON_PROBABILITY, "moved": CLEAR_ON_LOG_ODDS}
    return {"pictures": list(number_by_picture), **limits, "opaque": OPAQUE, "entries": entries}


def _entries(run: Run) -> Iterator[dict[str, Any]]:
    samples = read_samples(run.folder)
    conditions = list(samples["condition"].unique())
    pictured = samples_in_conditions(run.folder, conditions)
    if not pictured:
        return
    masks, boxes = read_masks(run.folder), read_box_table(run.folder)
    objects = read_object_masks(run.folder, pictured)
    saved = read_effects(run.folder, pictured)
    scales = {"scale": largest_effect(saved), "log_scale": largest_log_odds_effect(saved)}
    for sample in pictured:
        effects = saved[saved["sample"] == sample]
        if len(effects):
            of_sample = samples[samples["sample"] == sample]
            yield (
                _entry(run, of_sample, effects, masks)
                | {name: float(f"{size:.6g}") for name, size in scales.items()}
                | {"objects": _objects(boxes[boxes["sample"] == sample], objects.get(sample, {}))}
            )


def _entry(run: Run, samples: pd.DataFrame, effects: pd.DataFrame, masks: UnitMasks) -> dict[str, Any]:
    names = read_task(run.folder).classes
    units = effects.drop_duplicates("unit")
    strongest = effects["effect"].abs().groupby(effects["class"], sort=False).max().nlargest(MOST_CLASSES, keep="first")
    predicted = effects.loc[effects.groupby("condition", sort=False)["control"].idxmax(), "class"]
    classes = [name for name in names if name in {*strongest.index, *predicted}]
    boxes = units[list(Box._fields)]
    levels = {"condition": list(samples["condition"]), "unit": list(units["unit"]), "class": classes}
    codes = np.stack([pd.Index(of_axis).get_indexer(effects[name]) for name, of_axis in levels.items()])
    of_classes = codes.min(axis=0) >= 0
    tables = {name: np.full([*map(len, levels.values())], np.nan) for name in ("control", *_SCALES.values())}
    for name, table in tables.items():
        table[tuple(codes[:, of_classes])] = effects.loc[of_classes, name]
    first = samples.iloc[0]
    picture = load_thumbnail(thumbnail_path(run.folder, int(first["sample"]), first["condition"]))
    return {
        "job": run.label,
        "image": str(first["name"]),
        "label": label_names(first["label"], names),
        "classes": classes,
        "units": units["unit"].tolist(),
        "size": list(picture.shape[:2]),
        "boxes": None if boxes.isna().any(axis=None) else boxes.astype(int).to_numpy().tolist(),
        "masks": [None if mask is None else _base64(packed(mask)) for mask in masks_of(units, masks)],
        "conditions": [
            _condition(run, row, {name: table[number] for name, table in tables.items()})
            for number, (_, row) in enumerate(samples.iterrows())
        ],
    }


def _objects(boxes: pd.DataFrame, masks: Mapping[str, Mask]) -> list[dict[str, Any]]:
    """Known objects; a mask named like a class replaces the boxes of that class."""
    shown = boxes[~boxes["label"].isin(list(masks))]
    objects: list[dict[str, Any]] = [
        {"name": name, "label": label, "box": list(map(int, box)), "mask": None}
        for name, label, *box in shown[["object", "label", *Box._fields]].itertuples(index=False)
    ]
    for name, mask in masks.items():
        box = bounding_box(mask)
        objects.append({"name": name, "label": name, "box": list(box), "mask": _base64(packed(mask[box.slices]))})
    return objects


def _condition(run: Run, row: pd.Series[Any], tables: Mapping[str, Values]) -> dict[str, Any]:
    """Entry of an image in a condition; `tables` are of units and classes."""
    picture = thumbnail_path(run.folder, int(row["sample"]), row["condition"])
    shares: dict[str, Any] = {}
    for name, table in ((name, tables[column]) for name, column in _SCALES.items()):
        largest = float(np.abs(table[np.isfinite(table)]).max(initial=0.0)) or 1.0
        numbers = np.nan_to_num(np.clip(np.round(table / largest * STEPS), -STEPS, STEPS)).astype("<i2")
        shares[name] = {"largest": float(f"{largest:.6g}"), "shares": _base64(numbers.tobytes())}
    return {
        "name": str(row["condition"]),
        "title": display_name(str(row["condition"])),
        "picture": picture_link(files.read_bytes(picture, images.MAX_FILE_BYTES)),
        "correct": _true_or_false(row["correct"]),
        "success": _true_or_false(row["success"]),
        "control": [round(float(size), 7) for size in tables["control"][0]],
        **shares,
    }


def _true_or_false(value: Any) -> bool | None:
    return None if pd.isna(value) else bool(value)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
