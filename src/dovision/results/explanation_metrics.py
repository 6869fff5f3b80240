"""Agreement of the maps of a run with boxes, with true effects of objects, with each other, and with their variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dovision.functional import agreement
from dovision.functional.estimates import of_images
from dovision.functional.intervals import mean_interval
from dovision.results.image_tables import (
    AS_IS,
    CONTENT,
    HARD,
    PERTURBED,
    RANDOMISED,
    SOFT,
    MapGrid,
    ObjectMasks,
    read_box_table,
    read_grid,
    read_maps,
    read_object_masks,
)
from dovision.results.object_effects import true_effects
from dovision.results.tables import CLEAN, boxes_of
from dovision.types import Box, Mask, object_kind

Region = Sequence[Box] | Mask  # what speaks for a class in an image

CORRELATION = (-1.0, 1.0)  # least and largest value
_SHARE = (0.0, 1.0)
HIT_RATE = "hit_rate"  # pointing without its margin, as in Saporta et al., 2022; without p, as it repeats pointing
RANGES = {  # of the metrics of a map
    **dict.fromkeys(("pointing", "energy", "iou", "deletion", "insertion"), _SHARE),
    **dict.fromkeys(("true_effects", HARD, SOFT, CONTENT, "stability"), CORRELATION),
    HIT_RATE: _SHARE,
}
MAP_METRICS = tuple(metric for metric in RANGES if metric != HIT_RATE)
BOX_AREA, CENTRE_DISTANCE = "area of the box", "distance to the centre"  # controls of true_effects that are no maps
TRUTH_CONTROLS = (BOX_AREA, CENTRE_DISTANCE)
_PAIR = ["sample", "class"]
_KEY = [*_PAIR, "explainer"]


def agreements(folder: Path) -> pd.DataFrame:
    """Table of agreement with boxes and masks: a row per (sample, class, explainer), of unmodified maps.

    group, correct, state   as in maps.parquet; of a flagged map, whose state is not "ok", all that follows is nan
    pointing, energy, iou   against the mask of the class, or without one the boxes that speak for it; nan without both
    area                    its or their share of the image, which a uniform map would have as its energy
    deletion, insertion     as in maps.parquet
    true_effects            Spearman of the map's mean over each object with the evidence that the object gives: minus
                            the true effect of taking it away; nan with fewer than 3 objects, or where the run did not
                            measure true effects
    single_deletion         Spearman with the losses of single patches with hard edges, with soft ones
                            (single_deletion_soft), and by the content of other images (single_deletion_content)
    stability               Spearman with the map of the perturbed image
    hit_rate                pointing without a margin
    """
    maps = read_maps(folder)
    shown = maps[maps["variant"] == AS_IS].reset_index(drop=True)
    spoken = object_regions(read_box_table(folder), read_object_masks(folder))
    located = localisation(shown, spoken, read_grid(folder))
    stability = variant_similarity(maps, PERTURBED).drop(columns="group").rename(columns={"similarity": "stability"})
    frame = pd.concat([shown.drop(columns=["cells", "spread", "variant"], errors="ignore"), located], axis=1)
    for ranks in (truth_ranks(estimates(folder)), stability):
        frame = frame.merge(ranks, on=_KEY, how="left")
    metrics = frame.reindex(columns=[*RANGES, "area"]).where(frame["state"] == agreement.OK, np.nan).astype(float)
    return frame.assign(**metrics)


def object_regions(boxes: pd.DataFrame, masks: ObjectMasks) -> dict[tuple[int, str], Region]:
    """Region of evidence per sample and class: the mask of the class's name, or else the boxes of its label."""
    regions: dict[tuple[int, str], Region] = {
        (int(sample), str(label)): boxes_of(rows) for (sample, label), rows in boxes.groupby(["sample", "label"])
    }
    return regions | {
        (sample, name): mask for sample, located in masks.items() for name, mask in located.items() if mask.any()
    }


def localisation(maps: pd.DataFrame, spoken: Mapping[tuple[int, str], Region], grid: MapGrid) -> pd.DataFrame:
    """Agreement of each map with the region of its class: pointing, energy, area, iou and hit_rate; nan without one."""
    covered: dict[tuple[int, str], agreement.FloatArray] = {}
    rows = []
    for *pair, flat in maps[[*_PAIR, "cells"]].itertuples(index=False):
        scores, key = {}, tuple(pair)
        if key in spoken:
            cells = flat.reshape(grid.rows, grid.columns)
            if key not in covered:
                covered[key] = _coverage(spoken[key], grid)
            scores["pointing"] = _pointing(cells, spoken[key], grid, grid.margin)
            scores[HIT_RATE] = _pointing(cells, spoken[key], grid, 0)
            scores["energy"] = agreement.energy(cells, covered[key])
            scores["area"] = float(covered[key].mean())
            scores["iou"] = agreement.iou(cells, covered[key])
        rows.append(scores)
    return pd.DataFrame(rows, index=maps.index, columns=["pointing", "energy", "area", "iou", HIT_RATE])


def _pointing(cells: agreement.FloatArray, region: Region, grid: MapGrid, margin: float) -> float:
    if isinstance(region, np.ndarray):
        return agreement.mask_pointing(cells, region, margin)
    return agreement.pointing(cells, region, grid.height, grid.width, margin)


def _coverage(region: Region, grid: MapGrid) -> agreement.FloatArray:
    if isinstance(region, np.ndarray):
        return agreement.mask_coverage(region, grid.rows, grid.columns)
    return agreement.coverage(region, grid.height, grid.width, grid.rows, grid.columns)


def object_scores(folder: Path) -> pd.DataFrame:
    """Table of object scores: a row per (sample, class, explainer, object), of unmodified, unflagged maps.

    Returns:
        sample, class, explainer, group, correct, object, kind, label; energy, the share of the map's positive part in
        the object's box; area, the box's share of the image; density, the map's mean over the box; spread, the
        mean of the map's spread there, nan where it has none.
    """
    grid, boxes = read_grid(folder), read_box_table(folder)
    covered = pd.Series([_coverage([box], grid) for box in boxes_of(boxes)], boxes.index, dtype=object)
    boxes = boxes.assign(kind=boxes["object"].map(object_kind), coverage=covered)
    pairs = _sound(read_maps(folder)).merge(boxes[["sample", "object", "kind", "label", "coverage"]], on="sample")
    held = [(cells.reshape(share.shape), share) for cells, share in zip(pairs["cells"], pairs["coverage"], strict=True)]
    return pairs[[*_KEY, "group", "correct", "object", "kind", "label"]].assign(
        energy=[agreement.energy(*cells_and_share) for cells_and_share in held],
        area=[share.mean() for _, share in held],
        density=[agreement.density(*cells_and_share) for cells_and_share in held],
        spread=[
            np.nan if spread is None else agreement.density(spread.reshape(share.shape), share)
            for spread, share in zip(pairs["spread"], pairs["coverage"], strict=True)
        ],
    )


def estimates(folder: Path) -> pd.DataFrame:
    """Clean rows of `object_scores` with true evidence: minus the effect of removing the object."""
    return _with_evidence(object_scores(folder), folder)


def control_estimates(folder: Path) -> pd.DataFrame:
    """Rows as of `estimates` with trivial predictors, TRUTH_CONTROLS, in place of a map's density.

    The area of an object's box, and the distance of its middle from that of the image; one row an image, class and
    object, whatever maps of it are flagged.
    """
    grid, boxes, maps = read_grid(folder), read_box_table(folder), read_maps(folder)
    middle = ((boxes["top"] + boxes["bottom"] - grid.height) / 2, (boxes["left"] + boxes["right"] - grid.width) / 2)
    boxes[CENTRE_DISTANCE] = np.hypot(*middle)
    boxes[BOX_AREA] = (boxes["bottom"] - boxes["top"]) * (boxes["right"] - boxes["left"])
    pairs = maps.loc[maps["variant"] == AS_IS, [*_PAIR, "group", "correct"]].drop_duplicates(_PAIR)
    rows = _with_evidence(pairs.merge(boxes[["sample", "object", *TRUTH_CONTROLS]], on="sample"), folder)
    return rows.melt([*_PAIR, "group", "correct", "object", "evidence"], TRUTH_CONTROLS, "explainer", "density")


def _with_evidence(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    effects = true_effects(folder)
    effects = effects.loc[effects["condition"] == CLEAN, [*_PAIR, "object", "effect"]]
    both = rows.merge(effects, on=[*_PAIR, "object"])
    return both.assign(evidence=-both.pop("effect").astype(float))


def truth_ranks(objects: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of density and evidence over the objects of each image, class and explainer.

    Args:
        objects: rows of `estimates` or `control_estimates`.

    Returns:
        sample, class, explainer, true_effects.
    """
    ranks = [
        (*key, float(agreement.spearman(of_map["density"].to_numpy(float), of_map["evidence"].to_numpy())))
        for key, of_map in objects.groupby(_KEY, sort=False)
    ]
    return pd.DataFrame(ranks, columns=[*_KEY, "true_effects"])


def variant_similarity(maps: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Spearman rank correlation of each map with its variant.

    Returns:
        sample, class, explainer, group, similarity; maps that are flagged on either side are left out.
    """
    both = _sound(maps).merge(_sound(maps, variant)[[*_KEY, "cells"]], on=_KEY, suffixes=("", "_other"))
    cells = (np.stack(both[side].to_list()) for side in ("cells", "cells_other"))
    return both[[*_KEY, "group"]].assign(similarity=np.empty(0) if both.empty else agreement.spearman(*cells))


def sanity(folder: Path) -> pd.DataFrame:
    """Mean rank correlation of maps with those of randomised classifiers, by explainer.

    Returns:
        explainer, variant, mean, low, high, reason (why there is no interval), clusters, maps; a row for each
        "randomised k of n", k rising. Empty if the run made no such maps.

    Source: Adebayo et al., Sanity checks for saliency maps, 2018, arXiv:1810.03292.
    """
    maps = read_maps(folder)
    variants = sorted(maps.loc[maps["variant"].str.startswith(RANDOMISED), "variant"].unique(), key=depth)
    rows = []
    for variant in variants:
        similar = variant_similarity(maps, variant)
        for explainer in maps["explainer"].unique():
            chosen = similar[similar["explainer"] == explainer]
            interval = mean_interval(chosen["similarity"].to_numpy(), chosen["group"].to_numpy()).within(*CORRELATION)
            interval = of_images(interval, chosen.loc[chosen["similarity"].notna(), "sample"].nunique())
            counts = {"clusters": interval.n, "maps": chosen["similarity"].count()}
            rows.append({"explainer": explainer, "variant": variant} | interval.columns() | counts)
    return pd.DataFrame(rows)


def depth(variant: str) -> int:
    """Parse k from "randomised k of n"."""
    return int(variant.split()[1])


def _sound(maps: pd.DataFrame, variant: str = AS_IS) -> pd.DataFrame:
    return maps[(maps["variant"] == variant) & (maps["state"] == agreement.OK)]
