"""Figures of objects at several sites: whose units have the effects that the objects truly have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional import estimates
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, span
from dovision.report.style import COLOURS, FAINT, INK, canvas, shortened, styled
from dovision.results.display_names import component_text
from dovision.results.finding import bracketed
from dovision.results.object_effects import TAG, first_half, true_effects, unit_object_rows
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN, EFFECTS, SAMPLES, has_all_rows, read_table, read_task
from dovision.types import CODE, INPUT

MATCHES = ["class", "kind", "unit", "units", "r", "r_low", "r_high", "true", "measured", "elsewhere"]
MATCHES += ["images", "others"]
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


def unit_matches(folder: Path, judge: Path) -> pd.DataFrame:
    """Match each kind of object with the unit whose clean effects correlate best with true effects.

    The unit is chosen on a random half of the patients, by its correlation with the true effect, which is 0 where there
    is no such object; all numbers are of the images of the others.

    Args:
        folder: of the run.
        judge: of a run of the same classifier and images that drew each image again without an object.

    Returns:
        class, kind, unit, units (among how many it was chosen); r, r_low, r_high, the correlation with its 95% interval
        over images; the means true and measured over the images with the object, and elsewhere, the mean size of the
        unit's effect on the others; images and others, how many these are.
    """
    rows = [
        {"class": label, "kind": object_name, **_match(truth, unit_effects, first_half(folder))}
        for label, object_name, truth, unit_effects in matched_effects(folder, judge)
    ]
    return pd.DataFrame(rows, columns=MATCHES)


def matched_effects(folder: Path, judge: Path) -> Iterator[tuple[str, str, pd.Series[float], pd.DataFrame]]:
    """True effects by sample, nan without the object, and effects of all units, per class and kind.

    Of a run whose units are objects, such as painted boxes, those of the kind are one unit, of which effects add up.
    """
    effects, true = _effects(folder), true_effects(judge)
    true = true[true["condition"] == CLEAN]
    of_objects = unit_object_rows(folder)
    of_objects = of_objects[(of_objects["condition"] == CLEAN) & ~of_objects["control"].astype(bool)]
    for (label, object_name), rows in true.groupby(["class", "kind"], sort=False):
        if label not in effects.columns.levels[0]:
            continue
        truth = rows.groupby("sample")["effect"].sum().reindex(effects.index)
        unit_effects = effects[label]
        if len(of_objects):
            chosen = of_objects[(of_objects["kind"] == object_name) & (of_objects["class"] == label)]
            unit_effects = chosen.groupby("sample")["effect"].sum().reindex(effects.index).to_frame(str(object_name))
        yield str(label), str(object_name), truth, unit_effects.fillna(0.0)


def best_unit(truth: pd.Series[float], unit_effects: pd.DataFrame, half: pd.Series[bool]) -> str:
    """Unit whose effects correlate most with the true effects on the samples of `half`."""
    with np.errstate(invalid="ignore", divide="ignore"):  # of units that do nothing
        correlation = unit_effects[half].corrwith(truth[half].fillna(0.0))
    return str(correlation.idxmax()) if correlation.notna().any() else str(unit_effects.columns[0])


def _effects(folder: Path) -> pd.DataFrame:
    """Clean effects, a row per sample and a column per class and unit; 0 where a unit does not act."""
    table = read_table(folder / EFFECTS, ["sample", "condition", "unit", "class", "effect"]).to_pandas()
    clean = table[table["condition"] == CLEAN].astype({"unit": str, "class": str})
    clean = clean[clean["class"] != read_task(folder).opposite]
    samples = np.unique(read_table(folder / SAMPLES, ["sample"])["sample"].to_numpy())
    wide = clean.pivot_table("effect", "sample", ["class", "unit"], observed=True, sort=False)
    return wide.reindex(samples).fillna(0.0)


def _match(truth: pd.Series[float], unit_effects: pd.DataFrame, half: pd.Series[bool]) -> dict[str, Any]:
    unit = best_unit(truth, unit_effects, half)
    effects, true = unit_effects.loc[~half, unit].to_numpy(float), truth[~half].to_numpy(float)
    present = np.isfinite(true)
    match: dict[str, Any] = {"unit": unit, "units": len(unit_effects.columns)}
    match |= {"true": true[present].mean(), "measured": effects[present].mean()}
    match |= {"elsewhere": np.abs(effects[~present]).mean() if (~present).any() else np.nan}
    match |= {"images": int(present.sum()), "others": int((~present).sum())}
    if present.sum() < estimates.MIN_IMAGES:
        match |= dict.fromkeys(("true", "measured"), np.nan)
    if len(effects) < estimates.MIN_IMAGES or not np.ptp(effects) or not np.ptp(np.nan_to_num(true)):
        return {**match, "r": np.nan, "r_low": np.nan, "r_high": np.nan}
    from scipy import stats  # as in functional.agreement

    correlation = stats.pearsonr(effects, np.nan_to_num(true))
    low, high = correlation.confidence_interval()
    return {**match, "r": correlation.statistic, "r_low": low, "r_high": high}
