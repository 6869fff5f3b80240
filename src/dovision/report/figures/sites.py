"""Figures of objects at several sites: whose units have the effects that the objects truly have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.analysis.object_effects import TAG
from dovision.analysis.object_units import best_unit, first_half, matched_effects, unit_matches
from dovision.findings.number_text import bracketed
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, span
from dovision.report.style import COLOURS, FAINT, INK, canvas, shortened, styled
from dovision.store.display_names import component_text
from dovision.store.run_record import Run
from dovision.store.tables import has_all_rows
from dovision.types import CODE, INPUT

JUDGE = ".Counterfactual"  # ends the target of the intervention that has the true effects


class Sites(FigureComponent):
    """Figure of runs against a run of true counterfactuals with the same classifier; none without one."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        usable = [run for run in runs if run.record.get("dataset_fingerprint") is not None and has_all_rows(run.folder)]
        drawn_again = [run for run in usable if run.config.get("intervention", {}).get("_target_", "").endswith(JUDGE)]
        judges = {_origin(run): run for run in drawn_again}
        judged = {key: [run for run in usable if _origin(run) == key and run is not judges[key]] for key in judges}
        for number, (key, of_origin) in enumerate((key, of_origin) for key, of_origin in judged.items() if of_origin):
            yield from _figures(judges[key], of_origin, f"_{number + 1}" if number else "")


def _origin(run: Run) -> tuple[object, object]:
    return run.record.get("dataset_fingerprint"), run.record.get("checkpoints", {}).get("classifier")


def _figures(judge: Run, judged: Sequence[Run], end: str) -> Iterator[ReportFigure]:
    names = {run.label: _site(run) for run in judged}
    matches = [unit_matches(run.folder, judge.folder).assign(job=run.label, site=names[run.label]) for run in judged]
    tag_first = {"key": lambda names: names.where(names != TAG, ""), "kind": "stable"}
    frame = pd.concat(matches).sort_values(["class", "kind"], **tag_first).reset_index(drop=True)
    if frame.empty:
        return
    text = (
        "For each kind of object, and for each intervention, the unit whose effects on clean images are most like the "
        "object's true effects (0 where there is none), chosen on a random half of the patients; the numbers are of "
        "the others: the correlation r with the true effect, the mean true effect and that of the unit where there is "
        "such an object, and the mean size of the unit's effect where there is none."
    )
    counted = f"n = {span(frame['images'] + frame['others'])} images, those of half of the patients."
    words = caption(text, [judge, *judged], counted, "Brackets: 95% intervals over images (Fisher).")
    yield ReportFigure.of_table(f"sites{end}", "Which units act as an object does", words, frame, _table(frame))
    points = pd.concat([_points(run, judge).assign(site=names[run.label]) for run in judged])
    if len(points):
        text = (
            "Effects of the tag's unit of each intervention against the true effect of the tag, image by image; the "
            "grey points are images without a tag. On the line the unit does what the tag does. Units and images as in "
            "the table."
        )
        count = points.groupby("site").size().iloc[0]
        words = caption(text, [judge, *judged], f"n = {count} images; single images, so no interval.")
        title = "The tag's true effect and that of each intervention"
        yield ReportFigure(f"tag_at_sites{end}", title, words, site_scatter(points), points)


def _site(run: Run) -> str:
    """Describe the site and the units of a run's intervention."""
    intervention = run.config.get("intervention", {})
    name = component_text({"_target_": intervention.get("_target_", "")}) or "intervention"
    site = intervention.get("site", INPUT)
    return f"{name} at {'latents' if site == CODE else site}"


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    columns = {"class": frame["class"], "intervention": frame["site"]}
    columns["unit"] = frame["unit"] + " of " + frame["units"].astype(str)
    columns["r"] = pd.Series(bracketed(frame, "r"))
    columns |= {name: frame[name].map("{:+.3f}".format) for name in ("true", "measured", "elsewhere")}
    columns["images"] = frame["images"].astype(str) + " of " + (frame["images"] + frame["others"]).astype(str)
    table = pd.DataFrame(columns)
    table.index = pd.Index(frame["kind"], name="object")
    return table


def _points(run: Run, judge: Run) -> pd.DataFrame:
    """Pair true effects of the tag with those of its best-matching unit, on images not used for the match."""
    for label, object_name, truth, unit_effects in matched_effects(run.folder, judge.folder):
        if object_name == TAG:
            half = first_half(run.folder)
            cloud = pd.DataFrame({"true": truth, "measured": unit_effects[best_unit(truth, unit_effects, half)]})[~half]
            cloud = cloud.assign(**{"class": label, "has_tag": cloud["true"].notna()})
            return cloud.fillna({"true": 0.0}).reset_index()
    return pd.DataFrame()


@styled
def site_scatter(points: pd.DataFrame) -> Figure:
    """Plot effects of the matched unit against true ones, a panel per intervention.

    Args:
        points: a row per site and sample: true, measured, has_tag.
    """
    panels = dict(list(points.groupby("site", sort=False)))
    figure = canvas(0.5 + 1.55 * len(panels), 2.2)
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    ends = np.array([points[["true", "measured"]].min().min(), points[["true", "measured"]].max().max()])
    for number, (panel, (site, of_site)) in enumerate(zip(axes, panels.items(), strict=True)):
        panel.plot(ends, ends, color=INK, linewidth=0.8)
        for has_tag, colour in ((False, FAINT), (True, COLOURS[number % len(COLOURS)])):
            chosen = of_site[of_site["has_tag"] == has_tag]
            panel.scatter(chosen["true"], chosen["measured"], s=9, color=colour, linewidth=0)
        panel.set_title(shortened(str(site), 34))
        panel.set_xlabel("true effect of the tag")
        panel.grid()
    axes[0].set_ylabel("effect of the unit")
    return figure
