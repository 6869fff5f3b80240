"""Figures of the maps of explainers: how they score, and whether they pass the sanity checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import LEVEL, MEAN_INTERVALS, SHARE_INTERVALS
from dovision.report.plots import REFERENCE_MAPS, draw_means, panel_rows, with_legend
from dovision.report.report_figure import Caption, FigureComponent, ReportFigure, caption, span
from dovision.report.style import FAINT, INK, MARKERS, canvas, series, styled
from dovision.results import explanation_metrics, map_summary
from dovision.results.display_names import component_text, display_name
from dovision.results.finding import bracketed
from dovision.results.image_tables import MAPS_FILE, read_grid, read_reference
from dovision.results.map_findings import at_chance
from dovision.results.run_record import Run

TITLES = {
    "pointing": "pointing\ngame ↑",
    "energy": "energy\ninside ↑",
    "iou": "IoU at\nequal area ↑",
    "deletion": "deletion\narea ↓",
    "insertion": "insertion\narea ↑",
    "true_effects": "true effects\n(Spearman) ↑",
    map_summary.POOLED: "true effects\n(pooled) ↑",
    map_summary.GIVEN_AREA: "true effects\n(given area) ↑",
    "single_deletion": "single\ndeletion ↑",
    "single_deletion_soft": "deletion,\nsoft edge ↑",
    "single_deletion_content": "content\nswap ↑",
    "stability": "stability\n(Spearman) ↑",
    "hit_rate": "hit rate\n(no margin) ↑",
}
_SCORE_INTERVALS = f"pointing game, {SHARE_INTERVALS}; others, {MEAN_INTERVALS}"


class Maps(FigureComponent):
    """Figures of a run's maps; none without maps."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if not (run.folder / MAPS_FILE).is_file():
            return
        frame = explanation_metrics.agreements(run.folder)
        truth = explanation_metrics.estimates(run.folder), explanation_metrics.control_estimates(run.folder)
        scores = map_summary.scores(frame, *truth, read_reference(run.folder))
        for cost in ("seconds", "passes"):
            scores[cost] = scores["explainer"].map(run.record.get(f"{cost}_per_map", {})).astype(float)
        if scores["mean"].notna().any():  # there are enough images
            yield _table(run, scores)
        yield from _estimates(run, scores)
        yield from _sanity(run)


def _map_caption(run: Run, text: str, counted: str, intervals: str = "", frame: pd.DataFrame | None = None) -> Caption:
    """Caption with the settings of the map metrics."""
    grid, explanation = read_grid(run.folder), run.config.get("explanation", {})
    words = []
    if run.config.get("explainer"):
        texts = {display_name(name): component_text(made) for name, made in run.config["explainer"].items()}
        named = (text if text.startswith(shown) else f"{shown}: {text}" for shown, text in texts.items())
        words.append(f"Maps: {'; '.join(named)}.")
    how = f"{grid.rows} x {grid.columns} cells on {grid.height} x {grid.width} pixels; margin of pointing "
    how += f"{grid.margin:g} pixels"
    if explanation:
        fill, steps = component_text(explanation["fill"]), explanation["steps"]
        how += f"; deletion and insertion with {fill} in {steps} steps"
    whole = caption(text, [run], counted, intervals, frame)
    return Caption(f"{whole} {' '.join([*words, how])}.", whole.short)


def _counts(scores: pd.DataFrame) -> str:
    of_all = scores[scores["cases"] == map_summary.ALL]
    flagged = of_all.groupby("explainer", sort=False)["flagged"].first()
    listed = ", ".join(f"{count} of {display_name(str(name))}" for name, count in flagged.items() if count)
    return (
        f"n = {of_all['maps'].max():,} maps of an explainer; flagged as zero or not finite, and not scored: "
        f"{listed or 'none'}; a metric is the mean of {span(of_all.loc[of_all['scored'] > 0, 'scored'])} maps that it "
        "is defined for."
    )


def _table(run: Run, scores: pd.DataFrame) -> ReportFigure:
    titles = {map_summary.ALL: "all cases", map_summary.CORRECT: "cases that the classifier got right"}
    rows, chance, scored = {}, at_chance(run), {*scores.loc[scores["mean"].notna(), "metric"]}
    heads = {metric: title for metric, title in TITLES.items() if metric in scored}
    ordered = scores.sort_values("cases", kind="stable")  # controls, which come last, with the maps of their cases
    for (cases, explainer), of_explainer in ordered.groupby(["cases", "explainer"], sort=False):
        cells = dict(zip(of_explainer["metric"], _cells(of_explainer, chance is None), strict=True))
        row = {"explainer": display_name(str(explainer)), "maps": f"{of_explainer['maps'].iloc[0]:,}"}
        passes = of_explainer["passes"].iloc[0]
        row["passes"] = "" if pd.isna(passes) else f"{passes:,.0f}"
        row |= {title: cells.get(metric, "") for metric, title in heads.items()}
        rows[titles[cases], explainer] = row
    names = pd.Index([title for title, _ in rows], name="cases")
    table = pd.DataFrame(rows.values(), names)
    marks = (
        f"A star: differs from {display_name(read_reference(run.folder))} on the same images and classes (p < .05, "
        "two-sided, Holm-adjusted over the table); the differences and their intervals are in the file."
    )
    text = (
        f"Mean of each metric. {chance.text if chance else marks} Pooled: over all objects of all images, of which the "
        "jackknife over groups gives the interval; given area: what the area of the boxes leaves of it. Passes: "
        "forward passes of one image that a map took. A map that finds the boxes need not be faithful to the "
        "classifier, nor the reverse."
    )
    words = _map_caption(run, text, _counts(scores), f"In brackets: {_SCORE_INTERVALS}.", scores)
    return ReportFigure.of_table("map_scores", "Explainers and metrics", words, scores, table)


def _cells(rows: pd.DataFrame, starred: bool, name: str = "mean") -> list[str]:
    """Format means with intervals; starred where they differ from the reference."""
    stars = (rows["p_holm"].lt(1 - LEVEL) & starred).map({True: "*", False: ""})
    return [text.replace(" ", f"{star}\n", 1) for text, star in zip(bracketed(rows, name), stars, strict=True)]


def _estimates(run: Run, scores: pd.DataFrame) -> Iterator[ReportFigure]:
    frame = explanation_metrics.estimates(run.folder)
    of_all = scores[(scores["cases"] == map_summary.ALL) & (scores["metric"] == "true_effects")]
    of_all = of_all[of_all["explainer"].isin(frame["explainer"])]  # maps, and no controls
    means = of_all.set_index("explainer")["mean"]
    titles = {name: f"{display_name(name)}: {mean:.2f}" for name, mean in means.items()}
    if len(frame) < 2 or of_all["mean"].isna().all():
        return
    text = (
        "Mean of a map over an object's box against the evidence that the object gives to the classifier: minus the "
        "true effect of leaving it out, all else equal. Each panel has the units of its own map. Beside the name: mean "
        "over images of the rank correlation within an image, whose interval is in the table of explainers."
    )
    counts = span(frame.groupby("explainer", observed=True).size())
    words = _map_caption(run, text, f"n = {counts} objects and classes a panel; single objects, so no interval.")
    yield ReportFigure("map_estimates", "Estimated against true effects", words, _estimate_clouds(frame, titles), frame)


@styled
def _estimate_clouds(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Plot map densities against true evidence, a point per object, a panel per explainer."""
    kinds = list(dict.fromkeys(frame["kind"]))
    labels = "true evidence: minus the effect", "mean of the map"
    figure, panels = panel_rows(titles.values(), labels, (1.35, 1.7))
    for axes, explainer in zip(panels, titles, strict=True):
        of_explainer = frame[frame["explainer"] == explainer]
        for number, object_name in enumerate(kinds):
            cloud = of_explainer[of_explainer["kind"] == object_name]
            style = {"s": 5, "color": series(number)["color"], "marker": MARKERS[number % len(MARKERS)]}
            axes.scatter(cloud["evidence"], cloud["density"], alpha=0.5, linewidths=0, rasterized=True, **style)
            axes.scatter([], [], label=object_name, **style)  # for the legend, not faint
        tenths = of_explainer.groupby(pd.qcut(of_explainer["evidence"], 10, duplicates="drop"), observed=True)
        means = tenths[["evidence", "density"]].mean()
        axes.plot(means["evidence"], means["density"], color=INK, linewidth=1.2, label="means of tenths")
        axes.axvline(0, color=INK, linewidth=0.6)
        if of_explainer["density"].min() < 0:
            axes.axhline(0, color=INK, linewidth=0.6)
    return with_legend(figure, panels[:1])


def _sanity(run: Run) -> Iterator[ReportFigure]:
    frame = explanation_metrics.sanity(run.folder)
    if frame.empty:
        return
    frame = frame.assign(depth=frame["variant"].map(explanation_metrics.depth))
    text = (
        "Mean rank correlation of a map's cells with those of the original map, with the uppermost layers randomised; "
        "grey: maps that know nothing of the classifier, which do not change. A map that depends on the classifier "
        "must change when the classifier does."
    )
    words = _map_caption(run, text, f"n = {span(frame['maps'])} maps a point.", f"Whiskers: {MEAN_INTERVALS}.", frame)
    title = "Sanity: do the maps depend on the classifier?"
    yield ReportFigure("map_sanity", title, words, _sanity_lines(frame), frame)


@styled
def _sanity_lines(frame: pd.DataFrame) -> Figure:
    """Plot rank correlation with the original map against the depth of randomisation."""
    figure = canvas(5.0, 3.0)
    axes = figure.subplots()
    explainers = list(dict.fromkeys(frame["explainer"]))
    deepest = int(frame["depth"].max())
    start = pd.DataFrame({"depth": [0.0], "mean": [1.0], "low": [1.0], "high": [1.0]})  # the original map itself
    for number, explainer in enumerate(explainers):
        rows = frame[frame["explainer"] == explainer]
        look: dict[str, Any] = {"color": FAINT} if explainer in REFERENCE_MAPS else {}
        shift = (number - (len(explainers) - 1) / 2) * 0.03
        layers = pd.concat([start, rows[list(start)]])
        position = layers["depth"] + shift * (layers["depth"] > 0)
        draw_means(axes, position, layers, number, display_name(explainer), **look)
    ticks = {0: "as is", **{depth: f"{depth} of {deepest}" for depth in range(1, deepest + 1)}}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set(xlabel="randomised layers, from the top down", ylabel="rank correlation with the original map")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y")
    return with_legend(figure)
