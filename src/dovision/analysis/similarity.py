"""Similarity of maps: of two explainers, and of one explainer before and after something was changed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from dovision.functional import agreement
from dovision.functional.intervals import mean_interval
from dovision.store.map_tables import AS_IS, PERMUTED, RANDOMISED, read_maps

_PAIR = ["sample", "class"]


def variant_similarity(maps: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Spearman's rank correlation of each map as it is with its variant.

    Returns:
        sample, class, explainer, group, similarity; maps that are flagged on either side are left out.
    """
    key = [*_PAIR, "explainer"]
    sound = maps[maps["state"] == agreement.OK]
    changed = sound[sound["variant"] == variant]
    both = sound[sound["variant"] == AS_IS].merge(changed[[*key, "cells"]], on=key, suffixes=("", "_other"))
    return both[[*key, "group"]].assign(similarity=_spearman(both))


def explainer_similarity(folder: Path) -> pd.DataFrame:
    """Mean rank correlation of each two explainers' maps of the same image and class.

    Returns:
        explainer, other, similarity, maps; each two stand there once, in the order of the table.
    """
    maps = read_maps(folder)
    sound = maps[(maps["variant"] == AS_IS) & (maps["state"] == agreement.OK)]
    rows = []
    for first, second in combinations(dict.fromkeys(maps["explainer"]), 2):
        of_first, of_second = (sound.loc[sound["explainer"] == name, [*_PAIR, "cells"]] for name in (first, second))
        found = _spearman(of_first.merge(of_second, on=_PAIR, suffixes=("", "_other")))
        known = found[np.isfinite(found)]
        mean = float(known.mean()) if len(known) else np.nan
        rows.append({"explainer": first, "other": second, "similarity": mean, "maps": len(known)})
    return pd.DataFrame(rows, columns=["explainer", "other", "similarity", "maps"])


def sanity(folder: Path) -> pd.DataFrame:
    """Mean rank correlation of each explainer's maps with those of a classifier that has forgotten what it knew.

    Returns:
        explainer, variant, mean, low, high, reason (why there is no interval), clusters, maps; a row for each
        "randomised k of n", k rising, and for "permuted labels". Empty if the run made no such maps.

    Source: Adebayo et al., Sanity checks for saliency maps, 2018, arXiv:1810.03292.
    """
    maps = read_maps(folder)
    names = list(dict.fromkeys(maps["variant"]))
    depths = sorted((name for name in names if name.startswith(RANDOMISED)), key=depth)
    rows = []
    for variant in [*depths, *(name for name in names if name == PERMUTED)]:
        similar = variant_similarity(maps, variant)
        for explainer in dict.fromkeys(maps["explainer"]):
            found = similar[similar["explainer"] == explainer]
            values = found["similarity"].to_numpy()
            interval = mean_interval(values, found["group"].to_numpy())
            ends = (interval.estimate, interval.low, interval.high, interval.reason, interval.clusters)
            rows.append([explainer, variant, *ends, int(np.isfinite(values).sum())])
    return pd.DataFrame(rows, columns=["explainer", "variant", "mean", "low", "high", "reason", "clusters", "maps"])


def depth(variant: str) -> int:
    """k of "randomised k of n"."""
    return int(variant.split()[1])


def _spearman(both: pd.DataFrame) -> agreement.FloatArray:
    if both.empty:
        return np.empty(0)
    return agreement.spearman(np.stack(both["cells"].to_list()), np.stack(both["cells_other"].to_list()))
