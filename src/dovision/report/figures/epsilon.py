"""The spread of effects over images as an attack grows, attack beside attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.report.ecdf import quantile
from dovision.report.plots import spread_against_epsilon
from dovision.report.report_figure import ReportFigure, setup_sentence, span
from dovision.store.run_record import Run, alike, describe, own_settings
from dovision.store.tables import CLEAN, read_samples

QUANTILES = {"low": 0.05, "lower": 0.25, "median": 0.5, "upper": 0.75, "high": 0.95}
_MOST = 12  # panels that are drawn; the numbers have all
VALUE = "mean_abs_expected_effect"
Series = Mapping[str, Sequence[Run]]  # by the name of the attack; the runs of one differ in their epsilons alone


def epsilon_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Quantiles of |ECE| over images against epsilon; none unless two attacks were run with all else equal."""
    attacked = [run for run in runs if read_samples(run.folder)["eps"].any()]
    panels = {key: _series(group) for key, group in alike(attacked, apart_from=["attack"]).items()}
    compared = {key: series for key, series in panels.items() if len(series) > 1}
    if not compared:
        return []
    names = own_settings(compared)
    frame = pd.DataFrame(
        row for key, series in compared.items() for row in _rows(names[key] or _intervention(series), series)
    )
    shown = list(dict.fromkeys(frame["panel"]))
    cut = f" Drawn: the first {_MOST} of {len(shown)} settings." if len(shown) > _MOST else ""
    used = [run for series in compared.values() for group in series.values() for run in group]
    caption = (
        "Mean over units of the absolute expected causal effect of an image, of all images of a condition, whether the "
        "attack succeeded or not; epsilon 0: clean. Line: median over images; band: half of them; dotted: 5 % and "
        "95 %, of 20 images or more. Random-sign noise (RandomSign) is as large as the attacks and of no intent: what "
        f"it changes is not evidence of an attack. {setup_sentence(used)} n = {span(frame['images'])} images.{cut}"
    )
    title = "Distribution of |ECE| by attack and epsilon"
    figure = spread_against_epsilon(frame[frame["panel"].isin(shown[:_MOST])])
    return [ReportFigure("effect_spread", title, caption, figure, frame)]


def _series(runs: Sequence[Run]) -> Series:
    """The attacks of runs that differ in their attack alone; a name distinguishes an attack from others of its kind."""
    found: dict[str, list[Run]] = {}
    groups = alike(runs, apart_from=["attack.eps"])
    names = own_settings(groups)
    kinds = {key: describe(group[0].config.get("attack", {})).partition("(")[0] for key, group in groups.items()}
    for key, group in groups.items():
        several = list(kinds.values()).count(kinds[key]) > 1
        found.setdefault(f"{kinds[key]} ({names[key]})" if several else kinds[key], []).extend(group)
    return found


def _intervention(series: Series) -> str:
    first = next(iter(series.values()))[0]
    return describe(first.config.get("intervention", {})).partition("(")[0]


def _rows(panel: str, series: Series) -> Iterator[dict[str, Any]]:
    for attack, runs in series.items():
        tables = [read_samples(run.folder).dropna(subset=[VALUE]) for run in runs]
        others = [table[table["condition"] != CLEAN] for table in tables[1:]]  # the clean images are the same in each
        for eps, rows in pd.concat([tables[0], *others]).groupby("eps"):
            values = {name: quantile(rows[VALUE], share) for name, share in QUANTILES.items()}
            yield {"panel": panel, "attack": attack, "eps": eps, "images": len(rows), **values}
