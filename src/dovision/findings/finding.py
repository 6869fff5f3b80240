"""A finding: a plain sentence and the number behind it, which never claims more than the number's interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from dovision.findings.number_text import interval_text, number_text
from dovision.findings.sentences import BETTER, CHANGE_VERBS, MOST_GROUPS, STAYS


class Finding(NamedTuple):
    """Sentence about a run, with its number and interval; ends are nan where the interval is withheld."""

    name: str  # by which loggers know the number, such as largest_effect
    text: str
    estimate: float
    low: float
    high: float
    n: int  # images, maps or attacked images behind it
    section: str = BETTER  # of `sentences.HEADINGS`
    figure: str = ""  # name of the figure of the run that shows it

    def logged(self) -> dict[str, float]:
        """The number and its interval for loggers, without withheld ends."""
        ends = {"": self.estimate, "_low": self.low, "_high": self.high}
        return {f"finding/{self.name}{end}": float(value) for end, value in ends.items() if not pd.isna(value)}


def finding(
    name: str,
    text: str,
    interval: Mapping[str, Any],
    n: float,
    column: str = "",
    section: str = BETTER,
    figure: str = "",
) -> Finding:
    """Build a finding from a table row.

    Args:
        name, text: as of `Finding`.
        interval: with COLUMN (or "mean"), COLUMN_low and COLUMN_high (or "low", "high").
        n: how many images are behind it.
        column: of the number; "" for the columns mean, low and high.
        section, figure: as of `Finding`.
    """
    estimate, low, high = ends(interval, column)
    return Finding(name, text, float(estimate), float(low), float(high), int(n), section, figure)


def ends(row: Mapping[str, Any], column: str = "") -> tuple[Any, Any, Any]:
    """Estimate and interval ends of a column in a row; None becomes nan."""
    start = f"{column}_" if column else ""
    names = column or "mean", f"{start}low", f"{start}high"
    low_mid_high = [row.get(name) for name in names]
    estimate, low, high = (float("nan") if value is None else value for value in low_mid_high)
    return estimate, low, high


def in_brackets(row: Mapping[str, Any], column: str = "", form: str = "+.3f") -> str:
    """Format a column's estimate with its interval, such as "+0.150 [+0.101, +0.210]"."""
    estimate, low, high = ends(row, column)
    text = interval_text({"estimate": estimate, "low": low, "high": high, "reason": "none"}, form)
    return text.replace("[-]", "[no interval]")


def images_text(count: float, clusters: float | None = None) -> str:
    """Format a number of images, such as "n = 1 image"; with `clusters`, groups that are fewer, "n = 12 groups"."""
    images = f"{count:,} {'image' if count == 1 else 'images'}"
    return f"n = {images}" if clusters in (None, count) else f"n = {clusters:,.0f} groups, {images}"


def spread_text(row: Mapping[str, Any], label: str) -> str:
    """Format `intervals.spread` of an effect on P, such as "lowers P(a) in 9 of 9 images [0.66, 1.00], median ..."."""
    sign = int(row["median"] > 0) - int(row["median"] < 0)
    share = {"mean": row["hits"] / row["clusters"], "low": row["share_low"], "high": row["share_high"]}
    return MOST_GROUPS.format(
        verb=CHANGE_VERBS[sign] if sign else STAYS,
        label=label,
        hits=f"{row['hits']:,.0f}",
        clusters=f"{row['clusters']:,.0f}",
        groups="images" if row["clusters"] == row["images"] else "groups",
        share=in_brackets(share, form=".2f").partition(" ")[2],
        median=in_brackets(row, "median"),
        least=number_text(row["least"], "+.3f"),
        most=number_text(row["most"], "+.3f"),
    )


def direction(row: Mapping[str, Any], column: str = "", middle: float = 0.0) -> int:
    """1 or -1 if the whole interval lies above or below `middle`; 0 otherwise."""
    _, low, high = ends(row, column)
    if pd.isna(low) or pd.isna(high):
        return 0
    return int(low > middle) - int(high < middle)
