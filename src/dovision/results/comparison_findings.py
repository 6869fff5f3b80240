"""Findings of results side by side: which are above or below their reference on the same images, or not shown to be."""

from __future__ import annotations

import pandas as pd

from dovision.functional.intervals import Number
from dovision.results.finding import Finding, direction, finding, in_brackets
from dovision.results.sentences import BETTER, NOT_SHOWN, UNMOVED

_MOST = 3  # metrics that have a sentence
_VERDICTS = {1: "higher", -1: "lower", 0: NOT_SHOWN}


def comparison_findings(differences: pd.DataFrame, reference: str, counted: str) -> list[Finding]:
    """Findings on the largest difference in each of the first three metrics that differ; a single one if none does.

    Args:
        differences: a row a metric (`panel`, its display name) and result (`name`): mean, low, high, and n; of the
            same images as the reference's.
        reference: display name of what the others are compared with.
        counted: what n counts, such as "images".
    """
    rows = differences.dropna(subset="mean")
    differing = rows["mean"].ne(0).groupby(rows["panel"]).transform("any")
    if len(rows) and not differing.any():
        row = rows.iloc[0].to_dict()
        return [finding(BETTER, "compared", UNMOVED, str(row["name"]), Number.of(row), reference=reference)]
    result = []
    for panel, of_metric in rows[differing].groupby("panel", sort=False):
        row = of_metric.loc[of_metric["mean"].abs().idxmax()].to_dict()
        words = {"rival": str(row["name"]), "reference": reference}
        number = Number.of(row)._replace(n=int(row["n"]))
        one = finding(BETTER, "compared", _VERDICTS[direction(row)], str(panel), number, **words)
        others = of_metric.to_dict("records")
        detail = [(str(of["name"]), f"{in_brackets(of)}, n = {int(of['n']):,} {counted}") for of in others]
        result.append(one._replace(detail=detail))
    return result[:_MOST]
