"""A finding: a plain sentence and the number behind it, which never claims more than the number's interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from dovision.functional.intervals import NOT_STATED, Number
from dovision.results.number_text import interval_text, number_text
from dovision.results.sentences import BETTER, CHANGE_VERBS, MOST_GROUPS, STAYS


class Finding(NamedTuple):
    """Sentence about a run, with its number, of n images, maps or attacked images."""

    name: str  # by which loggers know the number, such as largest_effect
    text: str
    number: Number
    section: str = BETTER  # of `sentences.HEADINGS`
    figure: str = ""  # name of the figure of the run that shows it

    def logged(self) -> dict[str, float]:
        """The number and its interval for loggers, without withheld ends."""
        ends = zip(("", "_low", "_high"), self.number[:3], strict=True)
        return {f"finding/{self.name}{end}": value for end, value in ends if not pd.isna(value)}


def finding(
    name: str,
    text: str,
    row: Mapping[str, Any],
    n: float,
    column: str = "mean",
    section: str = BETTER,
    figure: str = "",
) -> Finding:
    """Build a finding from a table row.

    Args:
        name, text, section, figure: as of `Finding`.
        row, column: of the number, as of `Number.of`.
        n: how many images are behind it.
    """
    return Finding(name, text, Number.of(row, column)._replace(n=int(n)), section, figure)


def in_brackets(row: Mapping[str, Any], column: str = "mean", form: str = "+.3f") -> str:
    """Format a column's number with its interval, such as "+0.150 [+0.101, +0.210]"."""
    text = interval_text(Number.of(row, column)._replace(reason=NOT_STATED), form)
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


def direction(row: Mapping[str, Any], column: str = "mean", middle: float = 0.0) -> int:
    """Side of `middle` on which a column's whole interval lies, as of `Number.sign`."""
    return Number.of(row, column).sign(middle)
