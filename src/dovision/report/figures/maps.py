"""The figures of a run that explains: how the maps look, how they score, and whether they pass the sanity checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dovision.analysis import map_summary, similarity
from dovision.analysis.explanation_metrics import agreements, estimates
from dovision.functional.intervals import LEVEL, MEAN_INTERVALS, SHARE_INTERVALS
from dovision.report.figures import map_plots
from dovision.report.figures.map_gallery import map_gallery
from dovision.report.heat_map import heat_maps
from dovision.report.latex import Ruled
from dovision.report.report_figure import ReportFigure, missing_intervals, setup_sentence, span
from dovision.store.map_tables import AS_IS, MAPS_FILE, PERMUTED, RANDOMISED, read_box_table, read_grid, read_maps
from dovision.store.run_record import Run, describe
from dovision.store.tables import CLEAN
from dovision.store.thumbnails import CHOSEN, load_thumbnail, samples_in_conditions, thumbnail_path

TITLES = {
    "pointing": "pointing\ngame ↑",
    "energy": "energy\nin boxes ↑",
    "iou": "IoU at\nequal area ↑",
    "deletion": "deletion\narea ↓",
    "insertion": "insertion\narea ↑",
    "true_effects": "true effects\n(Spearman) ↑",
    "stability": "stability\n(Spearman) ↑",
}
LOCALISATION = {"pointing": "pointing game", "energy": "energy", "iou": "IoU"}


def map_figures(run: Run) -> list[ReportFigure]:
    """The figures of a run's maps; none if it drew no maps."""
    if not (run.folder / MAPS_FILE).is_file():
        return []
    frame = agreements(run.folder)
    scores = map_summary.scores(frame)
    scores = scores.assign(seconds=scores["explainer"].map(run.facts.get("seconds_per_map", {})))
    return [
        _table(run, scores),
        _dots(run, scores, frame),
        *_gallery(run),
        *_estimates(run, scores),
        *_labels(run, frame),
        *_sanity(run),
        *_similarity(run),
    ]


def _measured(run: Run) -> str:
    """The settings by which the maps were judged."""
    grid, explanation = read_grid(run.folder), run.config.get("explanation", {})
    text = f"{grid.rows} x {grid.columns} cells on {grid.height} x {grid.width} pixels; margin of pointing "
    text += f"{grid.margin:g} pixels"
    if explanation:
        text += f"; deletion and insertion with {describe(explanation['fill'])} in {explanation['steps']} steps"
    named = [f"{name} = {describe(component)}" for name, component in run.config.get("explainer", {}).items()]
    return f"{setup_sentence([run])} Maps: {', '.join(named)}. {text}." if named else f"{setup_sentence([run])} {text}."


def _counts(scores: pd.DataFrame) -> str:
    of_all = scores[scores["cases"] == map_summary.ALL]
    flagged = of_all.groupby("explainer", sort=False)["flagged"].first()
    listed = ", ".join(f"{count} of {name}" for name, count in flagged.items() if count)
    scored = of_all.loc[of_all["scored"] > 0, "scored"]
    return (
        f"n = {of_all['maps'].max():,} maps of an explainer; flagged as zero or not finite, and not scored: "
        f"{listed or 'none'}; a metric is the mean of {span(scored)} maps that it is defined for."
    )


def _table(run: Run, scores: pd.DataFrame) -> ReportFigure:
    known = _titles(scores)
    rows = []
    for (cases, explainer), found in scores.groupby(["cases", "explainer"], sort=False):
        of_metric = found.set_index("metric")
        counts = f"{found['maps'].iloc[0]:,}"
        title = "all cases" if cases == map_summary.ALL else "cases that the classifier got right"
        rows.append((title, [str(explainer), counts, *(_cell(of_metric.loc[metric]) for metric in known)]))
    compared = map_summary.reference(scores["explainer"])
    caption = (
        f"Mean and interval of each metric. A star: the difference to {compared} on the same images and classes has "
        f"p < .05, two-sided, Holm-adjusted over the table. {_counts(scores)} Pointing game: {SHARE_INTERVALS}; "
        f"others: {MEAN_INTERVALS}."
        f"{missing_intervals(scores)} A map that finds the boxes need not be faithful "
        f"to the classifier, nor the other way round. {_measured(run)}"
    )
    table = Ruled(["explainer", "maps", *known.values()], rows)
    return ReportFigure("map_scores", "Explainers and metrics", caption, map_plots.score_table(*table), scores, table)


def _dots(run: Run, scores: pd.DataFrame, frame: pd.DataFrame) -> ReportFigure:
    area = float(frame["area"].mean())
    chance = {"energy": area, "iou": float((frame["area"] / (2 - frame["area"])).mean())}
    chance = {metric: value for metric, value in chance.items() if np.isfinite(value)}
    caption = (
        "Filled: all cases; hollow: those in which the classifier was right; grey: maps that know nothing of the "
        f"classifier; dotted: a uniform map. {_counts(scores)} Whiskers: pointing game, {SHARE_INTERVALS}; "
        f"others, {MEAN_INTERVALS}.{missing_intervals(scores)} {_measured(run)}"
    )
    figure = map_plots.score_dots(scores, _titles(scores), chance)
    return ReportFigure("map_score_dots", "Explainers, metric by metric", caption, figure, scores)


def _gallery(run: Run, most: int = 4) -> list[ReportFigure]:
    maps, boxes = read_maps(run.folder), read_box_table(run.folder)
    pictured = samples_in_conditions(run.folder, [CLEAN])
    shown = maps[(maps["variant"] == AS_IS) & maps["sample"].isin(pictured)]
    shown = shown.sort_values("sample", key=lambda sample: sample.map(pictured.index), kind="stable")
    located = shown.merge(boxes.rename(columns={"label": "class"})[["sample", "class"]], on=["sample", "class"])
    pairs = pd.concat([located, shown]).drop_duplicates("sample")[["sample", "class"]].iloc[:most]
    if pairs.empty:
        return []
    frame = pairs.merge(shown, on=["sample", "class"], how="left")
    pictures = {int(sample): load_thumbnail(thumbnail_path(run.folder, sample, CLEAN)) for sample in pairs["sample"]}
    drawn = boxes[boxes["sample"].isin(pictures)]
    caption = (
        "Red: evidence for the class; blue: evidence against it; one scale for all maps of an explainer. Yellow: boxes "
        f"that speak for the class; light blue: other objects. n = {len(pictures)}, {CHOSEN}, those with a box before "
        f"others; single images, so no interval. {_measured(run)}"
    )
    figure = map_gallery(pictures, frame, drawn, read_grid(run.folder))
    data = frame.assign(cells=[" ".join(f"{cell:.5g}" for cell in cells) for cells in frame["cells"]])
    return [ReportFigure("map_gallery", "Images, boxes and maps", caption, figure, data)]


def _estimates(run: Run, scores: pd.DataFrame) -> list[ReportFigure]:
    frame = estimates(run.folder)
    of_all = scores[(scores["cases"] == map_summary.ALL) & (scores["metric"] == "true_effects")]
    titles = {row["explainer"]: f"{row['explainer']}: {row['mean']:.2f}" for row in of_all.to_dict("records")}
    if len(frame) < 2 or of_all["mean"].isna().all():
        return []
    caption = (
        "A map's mean over an object's box against the evidence that the object gives to the classifier: minus the "
        "true effect of leaving it out, all else equal. Each panel has the units of its own map. Beside the name: "
        "mean over images of the rank correlation within an image, whose interval stands in the table of explainers. "
        f"n = {span(frame.groupby('explainer', observed=True).size())} objects and classes a panel; single objects, so "
        f"no interval. {_measured(run)}"
    )
    figure = map_plots.estimate_clouds(frame, titles)
    return [ReportFigure("map_estimates", "Estimated against true effects", caption, figure, frame)]


def _labels(run: Run, frame: pd.DataFrame) -> list[ReportFigure]:
    scores = map_summary.label_scores(frame)
    compared = map_summary.reference(scores["explainer"])
    chosen = scores[(scores["cases"] == map_summary.ALL) & (scores["explainer"] != compared)]
    panels, texts = {}, {}
    for metric, title in LOCALISATION.items():
        of_metric = chosen[chosen["metric"] == metric].dropna(subset=["difference"])
        table = of_metric.pivot(index="label", columns="explainer", values="difference")
        order = [name for name in dict.fromkeys(chosen["explainer"]) if name in table]
        firm = of_metric.pivot(index="label", columns="explainer", values="p_holm")[order] < 0.05
        panels[title], texts[title] = table[order], firm.replace({True: "*", False: ""})
    if len(panels["energy"]) < 2:
        return []
    caption = (
        f"Score minus that of {compared} on the same images and classes, class by class; a star: p < .05, two-sided, "
        f"Holm-adjusted over the explainers and classes of a metric. n = {span(chosen['pairs'])}"
        f" pairs; intervals in the numbers. {_measured(run)}"
    )
    figure = heat_maps(panels, texts, f"difference to {compared}")
    return [ReportFigure("map_scores_by_label", "Explainers, class by class", caption, figure, scores)]


def _sanity(run: Run) -> list[ReportFigure]:
    frame = similarity.sanity(run.folder)
    if frame.empty:
        return []
    depths = [similarity.depth(name) if name.startswith(RANDOMISED) else np.nan for name in frame["variant"]]
    frame = frame.assign(depth=depths)
    caption = (
        "A map of what the classifier knows must change once it has forgotten it: mean rank correlation of the cells "
        "with those of the map as it is, with the uppermost layers randomised, and for a classifier fitted to permuted "
        f"labels. Grey: maps that know nothing of the classifier, which stay. n = {span(frame['maps'])}"
        f" maps a point. Whiskers: {MEAN_INTERVALS}.{missing_intervals(frame)} {_measured(run)}"
    )
    figure = map_plots.sanity_lines(frame, PERMUTED)
    return [ReportFigure("map_sanity", "Sanity: do the maps depend on the classifier?", caption, figure, frame)]


def _similarity(run: Run) -> list[ReportFigure]:
    frame = similarity.explainer_similarity(run.folder)
    if len(frame) < 2:
        return []
    names = list(dict.fromkeys([*frame["explainer"], *frame["other"]]))
    table = pd.DataFrame(np.eye(len(names)), names, names)
    for row in frame.to_dict("records"):
        first, second = row["explainer"], row["other"]
        table.loc[first, second] = table.loc[second, first] = row["similarity"]
    texts = table.map(lambda value: "" if pd.isna(value) else f"{round(value, 2) + 0:.2f}".replace("0.", "."))
    caption = (
        "Mean rank correlation of the cells of two explainers' maps of the same image and class; between effect maps "
        f"of several fills it shows how much the fill decides. n = {span(frame['maps'])} "
        f"pairs of maps. {_measured(run)}"
    )
    figure = heat_maps({"": table}, {"": texts}, "rank correlation", limit=1)
    return [ReportFigure("map_similarity", "Which explainers agree", caption, figure, frame)]


def _titles(scores: pd.DataFrame) -> Mapping[str, str]:
    """The metrics that have a number in this run."""
    known = scores.groupby("metric")["mean"].apply(lambda means: means.notna().any())
    return {metric: title for metric, title in TITLES.items() if known[metric]}


def _cell(row: pd.Series[Any]) -> str:
    if pd.isna(row["mean"]):
        return "-"
    star = "*" if row["p_holm"] < 1 - LEVEL else ""
    ends = "\n[-]" if pd.isna(row["low"]) else f"\n[{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['mean']:.3f}{star}{ends}"
