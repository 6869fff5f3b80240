"""The tables of detectors and attacks, of one run or over several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from dovision.analysis.detection_summary import DETECTION, NOT_ADAPTIVE, detection_over_seeds, read_detection
from dovision.functional.intervals import SHARE_INTERVALS
from dovision.report.figures import detection_plots
from dovision.report.latex import Ruled
from dovision.report.report_figure import ReportFigure, bracketed, missing_intervals, setup_sentence
from dovision.store.detection_tables import ADAPTIVE, ADAPTIVES, DETECTOR, NOISE, widest
from dovision.store.run_record import Run, alike

THRESHOLDS = (
    "Thresholds: those that reject 1 % and 5 % of the clean validation images, of patients that no detector was fitted "
    "to, taken as given; numbers: of test images, of the attacked ones those on which the attack succeeded."
)
NOISE_CONTROL = (
    "Random-sign noise is as large as the attack and harmless: a detector that separates noise from clean images, but "
    "not attacks from noise, has found that an image was altered and not that it was attacked."
)
WORST_IS = "In the worst case the attacker picks, image by image, the successful attack with the lowest score"
_HEADS = (
    "variant",
    "passes",
    "ms",
    "clean images\nrejected, 5 %",
    "noise\nrejected, 5 %",
    "noise against\nclean, AUROC",
)


def table_figures(run: Run) -> list[ReportFigure]:
    """Detectors and attacks, a table for each epsilon of a run."""
    return list(_tables([run], read_detection(run.folder), f"In brackets: {SHARE_INTERVALS}. One seed."))


def seed_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """The same over runs that differ in their seed alone; none where there is one seed."""
    detecting = alike([run for run in runs if (run.folder / DETECTION).is_file()], apart_from=["seed"])
    report_figures: list[ReportFigure] = []
    for number, group in enumerate(group for group in detecting.values() if len(group) > 1):
        seeds = ", ".join(str(run.seed) for run in group)
        text = f"Mean, and in brackets the range, over {len(group)} seeds ({seeds}); n is summed over them."
        report_figures += _tables(
            group, detection_over_seeds([run.folder for run in group]), text, f"_seeds{number or ''}"
        )
    return report_figures


def _tables(runs: Sequence[Run], frame: pd.DataFrame, text: str, end: str = "") -> Iterator[ReportFigure]:
    costs = runs[0].facts.get("detector_costs", {})
    for eps, rows in widest(frame).groupby("eps"):
        attacks = [name for name in dict.fromkeys(rows["attack"]) if name not in (NOISE, *ADAPTIVES)]
        adaptive = rows[rows["attack"].isin(ADAPTIVES)]
        heads = [*_HEADS, *(f"{name}\n{NOT_ADAPTIVE}" for name in attacks)]
        heads += [f"{ADAPTIVE}\nwhich evades most"] if len(adaptive) else []
        cells = [
            (str(key[0]), [str(key[1]), *_cost(costs.get(key[0], {})), *_cells(own, attacks)][: len(heads)])
            for key, own in rows.groupby(DETECTOR, sort=False)
        ]
        caption = (
            f"AUROC of successful attacks at epsilon {eps:.3g}; upper: against all clean test images; lower: against "
            f"random-sign noise of the same epsilon. {_counts(rows)} {text}{missing_intervals(rows)} {THRESHOLDS} "
            f"{WORST_IS}; the adaptive one "
            "knows the detector, and is shown with the lambda that has most undetected successes. Passes and "
            f"milliseconds: for an image. {NOISE_CONTROL} {setup_sentence(runs)}"
        )
        name, title = f"detection_table{end}_eps_{eps:.3g}", f"Detectors and attacks at epsilon {eps:.3g}"
        table = Ruled(heads, cells)
        yield ReportFigure(name, title, caption, detection_plots.detector_table(*table), rows, table)


def _counts(rows: pd.DataFrame) -> str:
    """Numbers of attacked images and of those on which an attack succeeded: the most, where detectors differ."""
    counts = rows[rows["attack"] != NOISE].groupby("attack", sort=False)[["successful", "images"]].max()
    listed = [f"{attack} {count:,} of {images:,}" for attack, count, images in counts.itertuples()]
    return f"n, successful of attacked images: {', '.join(listed)}."


def _cost(cost: Mapping[str, float]) -> list[str]:
    return [f"{cost[name]:,.3g}" if name in cost else "-" for name in ("passes", "milliseconds")]


def _cells(own: pd.DataFrame, attacks: Sequence[str]) -> list[str]:
    noise, adaptive = own[own["attack"] == NOISE], own[own["attack"].isin(ADAPTIVES)]
    cells = [_cell(own, "false_clean_5"), _cell(own, "false_noise_5"), _cell(noise, "auroc_all")]
    cells += [_cell(own[own["attack"] == attack], "auroc", "auroc_noise") for attack in attacks]
    return [*cells, _cell(adaptive.sort_values("evasion_5", ascending=False, kind="stable"), "auroc", "auroc_noise")]


def _cell(rows: pd.DataFrame, *columns: str) -> str:
    """The numbers of the first row, each with its interval in a line of its own."""
    if rows.empty:
        return "-"
    return "\n".join(bracketed(rows.iloc[0], name).replace("0.", ".") for name in columns)
