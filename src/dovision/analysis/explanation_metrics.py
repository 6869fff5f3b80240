"""Agreement of each map of a run with the boxes, with the true effects of the objects, and with itself under noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dovision.analysis.object_effects import true_effects
from dovision.analysis.similarity import variant_similarity
from dovision.functional import agreement
from dovision.store.map_tables import AS_IS, PERTURBED, MapGrid, read_box_table, read_grid, read_maps
from dovision.store.tables import CLEAN, boxes_of
from dovision.types import Box, object_kind

MAP_METRICS = ("pointing", "energy", "iou", "deletion", "insertion", "true_effects", "stability")
_KEY = ["sample", "class", "explainer"]


def agreements(folder: Path) -> pd.DataFrame:
    """A row per (sample, class, explainer), of the maps as they are.

    group, correct, state   as in maps.parquet; of a flagged map, whose state is not "ok", all that follows is nan
    pointing, energy, iou   against the boxes that speak for the class; nan where the image has none
    area                    the boxes' share of the image, which a uniform map would have as its energy
    deletion, insertion     as in maps.parquet
    true_effects            Spearman of the map's mean over each object with the evidence that the object gives: minus
                            the true effect of taking it away; nan with fewer than 3 objects, or where the run did not
                            measure true effects
    stability               Spearman with the map of the perturbed image

    Raises:
        FileNotFoundError, ValueError: a table is missing, damaged or of another format.
    """
    maps, grid = read_maps(folder), read_grid(folder)
    shown = maps[maps["variant"] == AS_IS].reset_index(drop=True)
    frame = pd.concat(
        [shown.drop(columns=["cells", "variant"]), _localisation(shown, read_box_table(folder), grid)], axis=1
    )
    stability = variant_similarity(maps, PERTURBED).drop(columns="group").rename(columns={"similarity": "stability"})
    frame = frame.merge(_against_true_effects(folder), on=_KEY, how="left").merge(stability, on=_KEY, how="left")
    measured = [*MAP_METRICS, "area"]
    return frame.assign(**frame[measured].where(frame["state"] == agreement.OK, np.nan).astype(float))


def object_scores(folder: Path) -> pd.DataFrame:
    """A row per (sample, class, explainer, object), of the maps as they are and not flagged.

    Returns:
        sample, class, explainer, group, object, kind, label; energy, the share of the map's positive part in the
        object's box; area, the box's share of the image; density, the map's mean over the box.
    """
    maps, grid, boxes = read_maps(folder), read_grid(folder), read_box_table(folder)
    sound = maps[(maps["variant"] == AS_IS) & (maps["state"] == agreement.OK)]
    covered = pd.Series([_coverage([box], grid) for box in boxes_of(boxes)], boxes.index, dtype=object)
    boxes = boxes.assign(kind=boxes["object"].map(object_kind), coverage=covered)
    pairs = sound.merge(boxes[["sample", "object", "kind", "label", "coverage"]], on="sample")
    held = [(cells.reshape(share.shape), share) for cells, share in zip(pairs["cells"], pairs["coverage"], strict=True)]
    return pairs[[*_KEY, "group", "object", "kind", "label"]].assign(
        energy=[agreement.energy(*each) for each in held],
        area=[share.mean() for _, share in held],
        density=[agreement.density(*each) for each in held],
    )


def estimates(folder: Path) -> pd.DataFrame:
    """Clean rows of `object_scores` with a measured true effect; evidence is minus that of taking the object away."""
    effects = true_effects(folder)
    effects = effects.loc[effects["condition"] == CLEAN, ["sample", "class", "object", "effect"]]
    both = object_scores(folder).merge(effects, on=["sample", "class", "object"])
    return both.assign(evidence=-both.pop("effect").astype(float))


def _localisation(maps: pd.DataFrame, boxes: pd.DataFrame, grid: MapGrid) -> pd.DataFrame:
    of: dict[tuple[int, str], list[Box]] = defaultdict(list)
    for sample, label, box in zip(boxes["sample"], boxes["label"], boxes_of(boxes), strict=True):
        of[sample, label].append(box)
    covered = {key: _coverage(found, grid) for key, found in of.items()}
    rows = []
    for sample, label, cells in zip(maps["sample"], maps["class"], maps["cells"], strict=True):
        key = sample, label
        found = _held_against(cells.reshape(grid.rows, grid.columns), of[key], covered[key], grid) if key in of else {}
        rows.append(found)
    return pd.DataFrame(rows, index=maps.index, columns=["pointing", "energy", "area", "iou"])


def _held_against(
    cells: agreement.FloatArray, boxes: Sequence[Box], covered: agreement.FloatArray, grid: MapGrid
) -> dict[str, float]:
    return {
        "pointing": agreement.pointing(cells, boxes, grid.height, grid.width, grid.margin),
        "energy": agreement.energy(cells, covered),
        "area": float(covered.mean()),
        "iou": agreement.iou(cells, covered),
    }


def _against_true_effects(folder: Path) -> pd.DataFrame:
    found = [
        (*key, float(agreement.spearman(rows["density"].to_numpy(), rows["evidence"].to_numpy())))
        for key, rows in estimates(folder).groupby(_KEY, sort=False)
    ]
    return pd.DataFrame(found, columns=[*_KEY, "true_effects"])


def _coverage(boxes: Sequence[Box], grid: MapGrid) -> agreement.FloatArray:
    return agreement.coverage(boxes, grid.height, grid.width, grid.rows, grid.columns)
