"""Figures of the effects of a run: their distribution over images, their averages, and those of a code's channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from dovision.analysis import average_effect
from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import EFFECT_INTERVALS, LEVEL, MEAN_INTERVALS, holm, level_of_selected
from dovision.report.figures import _average_maps as cells
from dovision.report.plots import average_effects_plot, draw_ecdf, ecdf, heat_maps, strongest, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images, selected, span
from dovision.report.style import EFFECT_COLOURS, FEWEST_FOR_CURVE, SIGN, canvas, logarithmic, series, styled
from dovision.store.display_names import MEAN_EFFECT, display_name
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, EFFECTS, read_samples, read_task, row_groups
from dovision.types import INPUT


@dataclass
class Effects(FigureComponent):
    """Average effects as maps, distribution of |expected effect|, largest averages; units without a place by class."""

    averages: int  # pairs of a unit and a class whose average effect is drawn
    units: int  # units that are drawn against classes
    maps: int  # classes whose average effects are drawn over the image

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        averaged = average_effect.average_effects(run.folder)
        opposite = read_task(run.folder).opposite
        averaged = averaged[(averaged["class"] != opposite) & averaged["mean"].notna()]
        if averaged.empty:  # too few images for an average
            yield from _distribution(run)
            return
        yield from cells.average_effect_maps(run, averaged, self.maps, opposite)
        yield from _distribution(run)
        yield _averages(run, averaged, self.averages, opposite)
        interacting = average_effect.interactions(run.folder)
        if len(interacting):
            yield _interactions(run, interacting[interacting["class"] != opposite], self.averages, opposite)
        clean = averaged[averaged["condition"] == CLEAN]
        if clean["unit"].nunique() > 1 and not _has_places(run):
            yield _units_by_class(run, clean, self.units, opposite)


def _has_places(run: Run) -> bool:
    """Whether the units of a run lie in the image, by its first rows, since all are of one kind."""
    first = next((table["top"] for table in row_groups(run.folder / EFFECTS, ["top"]) if len(table)), None)
    if first is None:  # no row of any class is kept
        return run.config.get("intervention", {}).get("site", INPUT) == INPUT
    return bool(first.null_count < len(first))


def _distribution(run: Run) -> Iterator[ReportFigure]:
    samples = read_samples(run.folder).dropna(subset=[MEAN_EFFECT])  # an image without a unit has none
    if samples["sample"].nunique() < 2:
        return
    noise = str(run.config["attack"].get("_target_")).endswith(".RandomSign")  # which is not out to succeed
    chosen = samples[(samples["condition"] == CLEAN) | (samples["success"] == True) | noise]  # noqa: E712  (null is neither)
    groups = chosen.groupby("condition", sort=False)
    parts = [ecdf(rows[MEAN_EFFECT]).assign(condition=condition, images=len(rows)) for condition, rows in groups]
    frame = pd.concat(parts, ignore_index=True)
    others = "all images with noise" if noise else "the attacked images on which the attack succeeded"
    attacked = samples["condition"].nunique() > 1
    text = f"All clean images, and {others}." if attacked else "All images."
    if silent := [name for name in samples["condition"].unique() if name not in groups.groups]:
        text += f" No attack succeeded at {', '.join(map(display_name, silent))}."
    text += (
        f" Dots where there are fewer than {FEWEST_FOR_CURVE} images. No interval. The left edge holds values below "
        f"1/10,000 of the largest, or below {RESOLUTION:.0e}, the resolution of float32 probabilities."
    )
    words = caption(text, [run], f"n = {span(frame['images'])} images a line.")
    title = f"Distribution of |expected effect|{', clean against attacked' if attacked else ''}"
    yield ReportFigure("effect_distribution", title, words, effect_distribution(frame), frame)


@styled
def effect_distribution(frame: pd.DataFrame) -> Figure:
    """Share of images whose mean |expected effect| is at most a value; logarithmic if values differ tenfold.

    Args:
        frame: from `ecdf`, with condition and images.
    """
    figure = canvas(3.25, 2.4)
    axes = figure.subplots()
    largest = max(float(frame["value"].max()), RESOLUTION)
    frame = frame.assign(value=frame["value"].clip(lower=max(largest / 1e4, RESOLUTION)))
    for number, (condition, rows) in enumerate(frame.groupby("condition", sort=False)):
        draw_ecdf(axes, rows, f"{display_name(str(condition))} (n = {rows['images'].iloc[0]:,})", series(number - 1))
    if largest > 10 * frame["value"].min():
        logarithmic(axes)
    axes.set(xlabel="mean |expected effect| of an image", ylabel="share of images", ylim=(0, 1.02))
    axes.grid()
    return with_legend(figure)


def _averages(run: Run, frame: pd.DataFrame, most: int, opposite: str | None) -> ReportFigure:
    """In log-odds; on the probability of a run that did not record them."""
    column = cells.deciding(frame)
    chosen = strongest(frame.assign(mean=frame[column]), most).index
    level = level_of_selected(len(chosen), len(frame))
    drawn = average_effect.at_level(run.folder, frame.loc[chosen], level).assign(level=level)
    data = pd.concat([drawn, frame.drop(chosen).assign(level=LEVEL)])
    scale, intervals = "class probability", EFFECT_INTERVALS
    if column == "log_odds":
        scale, intervals = "log-odds of the class", MEAN_INTERVALS
        ends = {"log_odds": "mean", "log_odds_low": "low", "log_odds_high": "high"}
        drawn = drawn[["condition", "unit", "class", *ends]].rename(columns=ends)
    text = (
        f"Mean over images of the effect of do(unit) on the {scale}{cells.opposite_note(opposite)}: the largest of "
        f"{len(frame):,}."
    )
    whiskers = f"Whiskers: {intervals}{selected(len(chosen), len(frame))}. In the numbers also: {EFFECT_INTERVALS}."
    words = caption(text, [run], images(frame["images"]), whiskers, data)
    figure = average_effects_plot(drawn, f"average effect on the {scale}")
    return ReportFigure("average_effects", "Largest average effects", words, figure, data)


def _interactions(run: Run, frame: pd.DataFrame, most: int, opposite: str | None) -> ReportFigure:
    named = frame.rename(columns={"interaction": "mean"})
    shown = len(strongest(named, most))
    data = average_effect.interactions(run.folder, level_of_selected(shown, len(named))).loc[named.index]
    data = data.rename(columns={"interaction": "mean"})
    text = (
        "Effect of units that are set at once minus the sum of the effects of each alone, mean over "
        f"images{cells.opposite_note(opposite)}: the largest of {len(frame):,}. 0: the effects add up."
    )
    words = caption(
        text, [run], images(frame["images"]), f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(frame))}.", data
    )
    figure = average_effects_plot(strongest(data, most), "interaction effect on the class probability")
    data = data.rename(columns={"mean": "interaction"})
    return ReportFigure("interactions", "Largest interactions of units", words, figure, data)


def _units_by_class(run: Run, clean: pd.DataFrame, most: int, opposite: str | None) -> ReportFigure:
    clean = clean.assign(p_holm=holm(clean["log_odds_p"].to_numpy(float)))
    sizes = clean[cells.deciding(clean)].abs().groupby(clean["unit"], sort=False).max()
    units = sizes.sort_values(ascending=False, kind="stable").index
    classes = list(dict.fromkeys(clean["class"]))
    drawn = clean.assign(dot=cells.has_dot(clean).map({True: "•", False: ""})).set_index(["unit", "class"])
    means, dots = (drawn[name].unstack().loc[units[:most], classes] for name in ("mean", "dot"))
    text = (
        f"Mean over clean images of P(class | do(unit)) - P(class){cells.opposite_note(opposite)}; {SIGN}"
        f"{cells.dots_text(clean[clean['unit'].isin(means.index)])}. Of {len(clean):,} units and classes, over which p "
        f"is adjusted, the {len(means)} of {len(units)} units with the {cells.LARGEST} are drawn."
    )
    words = caption(text, [run], images(clean["images"]), cells.IN_THE_NUMBERS, clean)
    figure = heat_maps({"": means}, {"": dots}, "average effect on the probability", colours=EFFECT_COLOURS)
    return ReportFigure("channels_by_class", "Which unit matters for which class", words, figure, clean)
