"""A finding as plain data, its sentence, and numbers with their intervals as text, the same on every surface."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision import checks
from dovision.functional.intervals import NOT_STATED, SATURATED, Number, withheld
from dovision.results.display_names import MEAN_EFFECT
from dovision.results.schemas import METRICS, QUALITY
from dovision.results.sentences import SENTENCES

_MOST_PLACES = 6  # behind the point; smaller numbers are written with their power of ten
_LEAST_END = 1e-6  # of the number, below which the end of an interval has no places of its own
_DOTS = 400  # values of a spread; of more images, evenly spaced in rank
SIZE_SPREAD = ("median", "least", "most")  # of a size, over images
HEADLINE_METRICS = ("accuracy", *(name for name in METRICS if name not in QUALITY))  # and of attacks
NOTHING = withheld(np.nan, 0, "")


class Finding(NamedTuple):
    """Answer to a question about a run or a sweep: plain data, which every surface renders.

    Args:
        question: of `sentences.QUESTIONS`.
        name: by which loggers know the number.
        verdict: what is shown, of `sentences.SENTENCES`.
        text: the sentence.
        number: of the sentence.
        control: the same of what was not done.
        spread: "subject" and "control", a value an image each, and "axis", what they are.
        picture: sample, condition, unit, label, before and after (P) of an image that shows it; empty without one.
        detail: name and text of what a card folds: intervals, level, fill, refuters.
    """

    question: str
    name: str
    verdict: str
    text: str
    number: Number
    control: Number = NOTHING
    spread: Mapping[str, Any] = {}
    picture: Mapping[str, Any] = {}
    detail: Sequence[Sequence[str]] = ()

    def logged(self) -> dict[str, float]:
        """The number and its interval for loggers, without withheld ends."""
        ends = zip(("", "_low", "_high"), self.number[:3], strict=True)
        return {f"finding/{self.name}{end}": value for end, value in ends if not pd.isna(value)}

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return self._asdict() | {"number": self.number.to_dict(), "control": self.control.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Finding:
        """Build from `to_dict`, of a file that anybody may have written."""
        if fields["picture"]:  # whose sample is part of a file's name
            checks.count("findings.json: sample of a picture", fields["picture"]["sample"])
        numbers = {
            name: Number.of(fields[name], "estimate")._replace(
                n=fields[name]["clusters"], method=fields[name]["method"], reason=fields[name]["reason"]
            )
            for name in ("number", "control")
        }
        return cls(**{**fields, **numbers})


def finding(
    question: str, form: str, verdict: str, subject: str, number: Number, control: Number = NOTHING, /, **words: str
) -> Finding:
    """Build a finding with the sentence of its kind and verdict, and neither spread, picture nor detail.

    Args:
        question, verdict, number, control: as of `Finding`.
        form: with the verdict, of `sentences.SENTENCES`.
        subject: what the sentence is about.
        words: what else it names.
    """
    template = SENTENCES[form, verdict]
    sizes = {"size": number.value, "other": control.value}
    numbers = {name: "-" if np.isnan(size) else finer_text(abs(size), ".2f") for name, size in sizes.items()}
    is_first = template.startswith("{subject}") and form not in (
        "picture",
        "cells",
    )  # which begins with the name of a file
    text = template.format(subject=subject[:1].upper() + subject[1:] if is_first else subject, **numbers, **words)
    name = re.sub(r"\W+", "_", " ".join(filter(None, [form, subject, words.get("rival", "")])))
    return Finding(question, name, verdict, text, number, control)


def spread_values(values: npt.ArrayLike) -> list[float]:
    """Sorted values of a spread, without nan; of more than 400, as many evenly spaced in rank."""
    ordered = np.sort(np.asarray(values, float))
    ordered = ordered[np.isfinite(ordered)]
    if len(ordered) > _DOTS:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _DOTS).round().astype(int)]
    return [float(f"{value:.4g}") for value in ordered]


def middle(values: npt.ArrayLike) -> Number:
    """Median without an interval, of values without nan."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return withheld(float(np.median(finite)), len(finite), "") if len(finite) else NOTHING


def in_brackets(row: Mapping[str, Any], column: str = "mean", form: str = "+.3f") -> str:
    """Format a column's number with its interval, such as "+0.150 [+0.101, +0.210]"."""
    text = interval_text(Number.of(row, column)._replace(reason=NOT_STATED), form)
    return text.replace("[-]", "[no interval]")


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
