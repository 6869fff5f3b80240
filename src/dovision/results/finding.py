"""A finding, a sentence with its number, and numbers with their intervals as text, the same for every outlet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.intervals import NOT_STATED, SATURATED, Number
from dovision.results.display_names import MEAN_EFFECT
from dovision.results.schemas import METRICS, QUALITY
from dovision.results.sentences import BETTER, CHANGE_VERBS, MOST_GROUPS, STAYS

_MOST_PLACES = 6  # behind the point; smaller numbers are written with their power of ten
_LEAST_END = 1e-6  # of the number, below which the end of an interval has no places of its own
SIZE_SPREAD = ("median", "least", "most")  # of a size, over images
HEADLINE_METRICS = ("accuracy", *(name for name in METRICS if name not in QUALITY))  # and of attacks


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


def interval_text(number: Number, form: str = ".3f") -> str:
    """A number with its interval, as "value [low, high]".

    "-" stands for what there is not, the number or its interval; "saturated" for an effect that is rounding. A number
    that has no interval by its nature, an empty reason, stands alone. What is small has more places (`finer`), but for
    an end that is nothing beside the number.

    Args:
        number: nan, where there is none.
        form: how each number is written, such as "+.3f".
    """
    value, low, high, _, _, reason = number
    if np.isnan(value):
        return "-"
    if reason == SATURATED:
        return "saturated"
    if np.isnan(low):
        return finer_text(value, form) + " [-]" * bool(reason)
    least = _LEAST_END * abs(value)
    excludes_zero = low * high > 0 and min(abs(low), abs(high)) > least
    form = finer(form, value if excludes_zero else max(map(abs, (value, low, high))))
    ends = []
    for end in (low, high):
        hidden = abs(end) > least and float(f"{end:{form}}") == 0  # it would read as zero
        ends.append(number_text(end, finer(form, end) if excludes_zero or hidden else form))
    return f"{number_text(value, form)} [{', '.join(ends)}]"


def finer(form: str, size: float) -> str:
    """Format with two significant digits for numbers that would read as zero or as one unit of the last place.

    Args:
        form: of other numbers, such as "+.3f"; "+.1e" suits every size.
        size: of the number, of either sign.
    """
    if form.endswith("e"):
        return form
    sign, places = form.rstrip("f").split(".")
    if size == 0 or abs(size) >= 1.5 * 10 ** -int(places):
        return form
    needed = 1 - math.floor(math.log10(abs(size)))
    return f"{sign}.{needed}f" if needed <= _MOST_PLACES else f"{sign}.1e"


def number_text(value: float, form: str) -> str:
    """Format a number; zero has no sign, and exponents have no plus and no leading zeros."""
    text, _, power = f"{value:{form}}".partition("e")
    text = f"{text}e{int(power)}" if int(power or 0) else text
    return text if float(text) else text.lstrip("+-")


def finer_text(value: float, form: str) -> str:
    """Format a number by itself, finer than `form` if it is small."""
    return number_text(value, finer(form, value))


def level_text(level: float) -> str:
    """Format the level of intervals with two digits of its complement, such as "95%" or "99.88%"."""
    rest = 100 * (1 - level)
    places = max(0, 1 - math.floor(math.log10(rest) + 1e-9))
    return f"{float(f'{100 - rest:.{places}f}'):.12g}%"


def metric_text(metric: str, row: Mapping[str, Any] | None) -> str:
    """Format a headline metric of a summary with its interval, or a size with its median and range; "-" for None."""
    number = Number.of(row or {}, "estimate")
    text = interval_text(number, form := number_form(metric, number.value))
    if row is None or row.get("median") is None:
        return text
    median, least, most = (finer_text(row[name], form) for name in SIZE_SPREAD)
    return f"{text} (median {median}, {least} to {most})"


def seeds_text(metric: str, mean: float, sd: float, seeds: int) -> str:
    """Format a mean over seeds with its standard deviation, such as "0.912 ± 0.004 (n = 3 seeds)"."""
    form = finer(number_form(metric, mean), sd if sd > 0 else 0.0)
    return f"{mean:{form}} ± {sd:{form}} (n = {seeds} seeds)"


def number_form(metric: str, value: float) -> str:
    """The format of a metric's numbers."""
    form = ".4f" if metric == MEAN_EFFECT else ".3f"
    return form if np.isnan(value) else finer(form, value)


def bracketed(rows: pd.DataFrame, name: str = "mean", form: npt.ArrayLike = ".3f") -> list[str]:
    """Format the numbers of a column of rows with their intervals, as `interval_text`.

    Args:
        rows, name: as of `Number.of`.
        form: how each number is written; one for all rows, or one a row.
    """
    forms = np.broadcast_to(form, len(rows))
    numbers = (Number.of(row, name) for row in rows.to_dict("records"))
    return [interval_text(number, one) for number, one in zip(numbers, forms, strict=True)]
