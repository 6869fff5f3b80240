"""Effect sizes inside and outside of a mask and of the mask moved, paired image by image: is the evidence inside?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dovision.functional.estimates import without_few
from dovision.functional.intervals import EFFECT_BOUNDS, LEVEL, SPREAD, holm, mean_p_value
from dovision.results.average_effect import grouped_means
from dovision.results.image_tables import read_box_table
from dovision.results.tables import EFFECTS, has_all_rows, read_groups, read_task, row_groups
from dovision.types import FRAME, MATCHED_CONTROL, OUTSIDE

_IMAGE = ["sample", "condition", "class"]
_CELL = ["condition", "mask", "class"]
MASK_PLACES = ("inside", "outside", "moved")
INSIDE_MINUS = {"minus_outside": "outside", "minus_moved": "moved"}  # of the size inside
_BOUNDS = dict.fromkeys((*MASK_PLACES, *INSIDE_MINUS), EFFECT_BOUNDS)
_SIGNED = {"inside": "effect", "outside": "effect_outside", "moved": "effect_moved"}  # the effect on P, with its sign
_IN_LOG_ODDS = {name: f"{name}_log_odds" for name in INSIDE_MINUS}
_SCALES = {"effect": "", "log_odds_effect": "_log_odds"}
_ENDS = ("", "_low", "_high", "_reason")
MASK_CONTRASTS = [*_CELL, "clusters", "images"]
MASK_CONTRASTS += [f"{name}{end}" for name in (*_BOUNDS, *_IN_LOG_ODDS.values()) for end in _ENDS]
MASK_CONTRASTS += [f"{name}_{end}" for name in INSIDE_MINUS for end in ("images", "p", "p_holm")]
MASK_CONTRASTS += [*SPREAD, *list(_SIGNED.values())[1:]]


def mask_sizes(folder: Path) -> pd.DataFrame:
    """Effect sizes of each image's masks, of their outside, and of masks moved elsewhere.

    A size is |P(class | do(u)) - P(class)|, so that evidence for a class and against it does not cancel over images.
    Of two classes that exclude each other only the second is taken, since both have the same sizes.

    Returns:
        sample, group, condition, class, mask, inside, outside (nan where it was not measured), moved (the mean over the
        controls of the mask, nan without one), minus_outside and minus_moved (inside minus each), and all five of
        the effects in log-odds, such as inside_log_odds; effect, effect_outside and effect_moved, the effects on the
        probability with their signs; no rows where the
        units of the run are no masks with controls or an outside, or are known objects (`object_effects.contrasts` has
        these), or where not all classes have rows.
    """
    has_effects = (folder / EFFECTS).is_file() and has_all_rows(folder)
    rows = _rows(folder) if has_effects else pd.DataFrame()
    if rows.empty:
        names = [f"{name}{end}" for end in _SCALES.values() for name in _BOUNDS] + [*_SIGNED.values()]
        return pd.DataFrame(columns=["sample", "group", *_CELL, *names])
    rows = rows[(rows["class"] != read_task(folder).opposite) & ~rows["unit"].str.endswith(FRAME)]
    name = rows["unit"].str.partition(MATCHED_CONTROL)
    outside, moved = rows["unit"] == OUTSIDE, name[1] != ""
    keys = [*_IMAGE, "mask"]
    rows = rows.assign(mask=name[0], signed=rows["effect"], **{name: rows[name].abs() for name in _SCALES})
    inside, outer, elsewhere = (
        {name: f"{where}{end}" for name, end in _SCALES.items()} | {"signed": _SIGNED[where]} for where in MASK_PLACES
    )
    sizes = rows[~outside & ~moved].rename(columns=inside)[[*keys, *inside.values()]]
    means = rows[moved].groupby(keys, as_index=False)[list(elsewhere)].mean().rename(columns=elsewhere)
    rest = rows[outside].rename(columns=outer)[[*_IMAGE, *outer.values()]]
    sizes = sizes.merge(rest, on=_IMAGE, how="left").merge(means, on=keys, how="left")
    differences = {
        f"{name}{end}": sizes[f"inside{end}"] - sizes[f"{other}{end}"]
        for end in _SCALES.values()
        for name, other in INSIDE_MINUS.items()
    }
    return sizes.assign(**differences, group=sizes["sample"].map(read_groups(folder)))


def mask_contrasts(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Mean effect sizes inside, outside and of moved masks, with paired differences within images.

    The mask moved has the mask's own area and shape; all that is outside has another area.

    Returns:
        condition, mask, class; inside, outside, moved, minus_outside, minus_moved, minus_outside_log_odds and
        minus_moved_log_odds (see `mask_sizes`), each with _low, _high and _reason, of which sizes have none; the
        `intervals.spread` of the effect inside, and effect_outside and effect_moved, medians; clusters, images; of both
        differences _images (how many have both), _p, the two-sided p-value in log-odds, and _p_holm, adjusted over the
        rows of the condition.
    """
    sizes = mask_sizes(folder)
    if sizes.empty:
        return pd.DataFrame(columns=MASK_CONTRASTS)
    cells = sizes.groupby(_CELL, sort=False)
    frame = grouped_means(sizes, _CELL, [*_BOUNDS, *_IN_LOG_ODDS.values()], level, _BOUNDS, MASK_PLACES, "effect")
    of_groups = sizes.groupby([*_CELL, "group"], sort=False)[list(_SIGNED.values())[1:]].mean()
    frame = frame.join(of_groups.groupby(level=_CELL).median(), on=_CELL)
    for name, log_odds in _IN_LOG_ODDS.items():
        frame[f"{name}_images"] = cells[name].count().to_numpy()
        frame[f"{name}_p"] = [
            mean_p_value(cell[log_odds].to_numpy(float), cell["group"].to_numpy()) for _, cell in cells
        ]
        adjusted = frame.groupby("condition", sort=False)[f"{name}_p"]
        frame[f"{name}_p_holm"] = adjusted.transform(lambda p: holm(p.to_numpy(float)))
    return without_few(frame[MASK_CONTRASTS])


def _rows(folder: Path) -> pd.DataFrame:
    """Rows of mask units; empty if the first row group has other units."""
    of_masks: list[pd.DataFrame] = []
    for table in row_groups(folder / EFFECTS, [*_IMAGE, "unit", *_SCALES, "top"]):
        rows = table.to_pandas()
        units = rows["unit"].cat.categories if hasattr(rows["unit"], "cat") else rows["unit"].unique()
        if not of_masks and not any(unit == OUTSIDE or MATCHED_CONTROL in unit for unit in units):
            break
        placed = rows.dropna(subset="top").drop(columns="top")
        of_masks.append(placed.astype({"unit": str, "condition": str, "class": str}))
    rows = pd.concat(of_masks) if of_masks else pd.DataFrame({"unit": []})
    objects = set(read_box_table(folder)["object"])
    return rows if (rows["unit"] == OUTSIDE).any() or not rows["unit"].isin(objects).any() else rows.iloc[:0]
