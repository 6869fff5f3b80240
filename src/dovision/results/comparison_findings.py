"""Findings of results side by side: which are above or below their reference on the same images, or not shown to be."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dovision.results import sentences
from dovision.results.finding import Finding, direction, finding, in_brackets

_MOST = 3  # metrics that have a sentence
_NAMED = 4  # results that a verdict names


def comparison_findings(differences: pd.DataFrame, reference: str, counted: str) -> list[Finding]:
    """Sentences on the first three metrics that differ; a single one if all are the same.

    Args:
        differences: a row a metric (`panel`, its display name) and result (`name`): mean, low, high, and n; of the
            same images as the reference's.
        reference: display name of what the others are compared with.
        counted: what n counts, such as "images".
    """
    rows = differences.dropna(subset="mean")
    differing = rows["mean"].ne(0).groupby(rows["panel"]).transform("any")
    if len(rows) and not differing.any():
        row, metrics = rows.iloc[0].to_dict(), _listed(list(dict.fromkeys(map(str, rows["panel"]))))
        count = _count(rows["n"].min(), counted)
        text = sentences.COMPARED_SAME.format(reference=reference, metrics=metrics, count=count)
        return [finding(f"minus_{reference}", text, row, row["n"])]
    panels = rows[differing].groupby("panel", sort=False)
    return [_of_metric(str(panel), of_metric, reference, counted) for panel, of_metric in panels][:_MOST]


def _of_metric(metric: str, rows: pd.DataFrame, reference: str, counted: str) -> Finding:
    words = sentences.COMPARED_VERDICTS
    signs = [direction(row) for row in rows.to_dict("records")]
    named = {way: [str(name) for name, sign in zip(rows["name"], signs, strict=True) if sign == way] for way in words}
    verdicts = ", ".join(f"{word} {_listed(named[way])}" for way, word in words.items() if named[way])
    row = rows.loc[rows["mean"].abs().idxmax()].to_dict()
    number = f"{in_brackets(row)}, {_count(row['n'], counted)}"
    if len(rows) > 1:
        number = sentences.COMPARED_LARGEST.format(name=row["name"], number=number)
    text = sentences.COMPARED_WITH.format(reference=reference, metric=metric, verdicts=verdicts, number=number)
    return finding(f"{metric}_minus_{reference}", text, row, row["n"])


def _count(number: float, counted: str) -> str:
    return f"n = {int(number):,} {counted if number != 1 else counted.removesuffix('s')}"


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return "; ".join([*names[:_NAMED], *more])
