"""The figure of a code's channels: which of them matter for which class."""

from __future__ import annotations

import pandas as pd

from dovision.functional.intervals import LEVEL, MEAN_INTERVALS, holm
from dovision.report.heat_map import heat_maps
from dovision.report.report_figure import ReportFigure, images, missing_intervals, setup_sentence
from dovision.report.style import EFFECT_COLOURS, SIGN
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, EFFECTS, row_groups


def channel_figures(run: Run, averaged: pd.DataFrame, most: int = 24) -> list[ReportFigure]:
    """Channels against classes, the strongest channels first; none where the units have a place in the image.

    Args:
        run: whose effects they are.
        averaged: from `average_effects`.
        most: channels that are drawn.
    """
    clean = averaged[averaged["condition"] == CLEAN]
    if clean["unit"].nunique() < 2 or _placed(run):
        return []
    strongest = clean["mean"].abs().groupby(clean["unit"], sort=False).max().sort_values(ascending=False, kind="stable")
    clean = clean.assign(p_holm=holm(clean["p"].to_numpy(float)))
    firm = clean.assign(firm=clean["p_holm"] < 1 - LEVEL)
    means, marks = (
        firm.pivot(index="unit", columns="class", values=value).loc[
            strongest.index[:most], list(dict.fromkeys(clean["class"]))
        ]
        for value in ("mean", "firm")
    )
    caption = (
        f"Mean over clean images of P(class | do(unit)) - P(class); {SIGN}; a dot: p < .05, two-sided, "
        f"Holm-adjusted over the {len(clean):,} units and classes. "
        f"The strongest {len(means)} of {len(strongest)} units. "
        f"{setup_sentence([run])} {images(clean['images'])} Intervals: {MEAN_INTERVALS}.{missing_intervals(clean)}"
    )
    dots = marks.replace({True: "•", False: ""})
    figure = heat_maps({"": means}, {"": dots}, "average effect on the probability", colours=EFFECT_COLOURS)
    return [ReportFigure("channels_by_class", "Which unit matters for which class", caption, figure, clean)]


def _placed(run: Run) -> bool:
    """True if a unit of the run has a place in the image; all of them are of one kind."""
    first = next(row_groups(run.folder / EFFECTS, ["top"]), None)
    return first is not None and first["top"].null_count < len(first)
