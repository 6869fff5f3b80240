"""Protocol of FunnyBirds, for measured effects of parts and maps.

Where the protocol compares logits before and after something is taken away, this takes probabilities, their ratios and
log-odds, which the tables of a run hold.

Source: Hesse, Schaub-Meyer and Roth, FunnyBirds, ICCV 2023, arXiv:2308.06248.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from dovision.analysis.explanation_metrics import object_scores
from dovision.analysis.object_effects import object_rows
from dovision.functional.agreement import spearman
from dovision.functional.estimates import of_images
from dovision.functional.intervals import Interval, mean_interval, share_interval
from dovision.store.map_tables import MAPS_FILE
from dovision.store.tables import CLEAN, EFFECTS, SAMPLES, read_groups, read_table

IMPORTANT = 0.05  # share of its probability that the class loses without an important object
SHARED = 2  # parts that an image shares with each of two other classes
EFFECTS_ROW = "effects"  # the method of numbers that come from measured effects
PROTOCOL = ["measure", "method", "mean", "low", "high", "reason", "clusters", "images"]

Models = Mapping[str, Mapping[str, int]]  # by class, the number of the model of each part


def part_protocol(folder: Path, models: Models) -> pd.DataFrame:
    """Scores of the FunnyBirds protocol from effects of removed or painted-over bird parts, on clean images.

    accuracy                  share of the images whose class is predicted
    background independence   share of the background's objects without which the class keeps 95% of its probability
    target sensitivity        of an image that shares two parts with a second class and two others with a third: whether
                              the two give more evidence for the second against the third (the logarithm of the ratio
                              of their probabilities) than the two others; the mean over all such pairs of classes
    single deletion           for each explainer (1 + rho) / 2, where rho is Spearman's correlation, over the parts of
                              an image, of the map's sum in the part's box with its evidence for the class in log-odds

    Args:
        folder: of the run.
        models: as the facts of the dataset have them.

    Returns:
        measure, method (the explainer, or "effects"), mean, low, high, reason (why there is no interval), clusters,
        images. Measures that the run does not hold have no row.
    """
    rows = object_rows(folder)
    rows = rows[(rows["condition"] == CLEAN) & ~rows["control"].astype(bool)]
    if rows.empty:
        return pd.DataFrame(columns=PROTOCOL)
    samples = read_table(folder / SAMPLES, ["group", "condition", "correct"]).to_pandas()
    clean = samples[samples["condition"] == CLEAN]
    accuracy = share_interval(clean["correct"].to_numpy(float), clean["group"].to_numpy())
    rows_of_protocol = [_row("accuracy", "classifier", accuracy, len(clean))]
    columns = ["sample", "condition", "unit", "class", "control", "treated"]
    table = read_table(folder / EFFECTS, columns).to_pandas()
    table = table.astype({"condition": str, "unit": str, "class": str}).rename(columns={"unit": "object"})
    probabilities = table[table.pop("condition") == CLEAN]
    background = _background(rows, probabilities)
    if len(background):
        interval = share_interval(background["kept"].to_numpy(float), background["group"].to_numpy())
        rows_of_protocol.append(_row("background independence", EFFECTS_ROW, interval, background["sample"].nunique()))
    sensitive = pd.DataFrame(_target_sensitivity(rows, probabilities, models), columns=["sample", "group", "share"])
    if len(sensitive):
        interval = mean_interval(sensitive["share"].to_numpy(), sensitive["group"].to_numpy()).within(0, 1)
        rows_of_protocol.append(_row("target sensitivity", EFFECTS_ROW, interval, len(sensitive)))
    return pd.DataFrame([*rows_of_protocol, *_single_deletion(folder, rows)], columns=PROTOCOL)


def _row(measure: str, method: str, interval: Interval, images: int) -> dict[str, object]:
    counts = {"clusters": interval.clusters, "images": images}
    return {"measure": measure, "method": method, **of_images(interval, images).columns(), **counts}


def _background(rows: pd.DataFrame, probabilities: pd.DataFrame) -> pd.DataFrame:
    """Background objects, and whether the image's class keeps its probability without them."""
    background = rows.loc[rows["label"].isna(), ["sample", "object", "group"]].drop_duplicates()
    label = rows.dropna(subset="label").groupby("sample")["label"].first()
    both = background.merge(probabilities[probabilities["class"] == probabilities["sample"].map(label)])
    return both.assign(kept=both["treated"] >= (1 - IMPORTANT) * both["control"])


def _target_sensitivity(
    rows: pd.DataFrame, probabilities: pd.DataFrame, models: Models
) -> Iterator[tuple[int, int, float]]:
    spoken = rows.loc[rows["label"].notna(), ["sample", "group", "label", "object"]].drop_duplicates()
    both = spoken.merge(probabilities)
    before, after = (np.log(both[name].clip(lower=np.finfo(np.float32).tiny)) for name in ("control", "treated"))
    both = both.assign(evidence=before - after)
    for (sample, group, label), of_image in both.groupby(["sample", "group", "label"], sort=False):
        evidence = of_image.pivot_table("evidence", "object", "class")
        of_label = {
            bird_part: model for bird_part, model in models.get(str(label), {}).items() if bird_part in evidence.index
        }
        common = {  # parts of the image that another class has, too
            name: frozenset(bird_part for bird_part, model in of_label.items() if models[name].get(bird_part) == model)
            for name in models
            if name in evidence.columns
        }
        pairs = combinations([name for name in common if name != label and len(common[name]) == SHARED], 2)
        wins = [
            evidence.loc[list(common[one]), one].sum() - evidence.loc[list(common[one]), other].sum()
            > evidence.loc[list(common[other]), one].sum() - evidence.loc[list(common[other]), other].sum()
            for one, other in pairs
            if not common[one] & common[other]
        ]
        if wins:
            yield int(sample), int(group), float(np.mean(wins))


def _single_deletion(folder: Path, rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    if not (folder / MAPS_FILE).is_file():
        return
    spoken = rows[rows["label"] == rows["class"]]
    truth = spoken[["sample", "class", "object"]].assign(evidence=-spoken["log_odds_effect"].astype(float))
    both = object_scores(folder).merge(truth, on=["sample", "class", "object"])
    groups = read_groups(folder)
    for explainer, of_explainer in both.groupby("explainer", sort=False):
        ranks = {
            sample: float(spearman(image["energy"].to_numpy(), image["evidence"].to_numpy()))
            for sample, image in of_explainer.groupby("sample", sort=False)
        }
        rho = pd.Series(ranks, dtype=float).dropna()
        interval = mean_interval((1 + rho.to_numpy()) / 2, groups[rho.index].to_numpy()).within(0, 1)
        yield _row("single deletion", str(explainer), interval, len(rho))
