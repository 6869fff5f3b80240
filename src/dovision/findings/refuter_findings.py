"""Findings of refuters: the sentence on a headline, and the table of verdicts."""

from __future__ import annotations

import pandas as pd

from dovision.analysis.refuters import REFUTATIONS
from dovision.findings.finding import in_brackets
from dovision.store.refuter_table import UNALTERED
from dovision.store.run_record import Run

PASSED, FAILED, UNDECIDED = "passed", "failed", "not decided"


def verdict(run: Run, headline: str, subject: str, label: str) -> str:
    """Sentence on the refuters that a headline fails, or on how many it passes; empty where none were measured."""
    frame = pd.DataFrame(run.summary.get("refutations", []), columns=REFUTATIONS)
    chosen = (frame["headline"] == headline) & (frame["subject"] == subject) & (frame["class"] == label)
    frame = frame[chosen & (frame["refuter"] != UNALTERED)]
    decided = frame[frame["passed"].notna()]
    if frame.empty:
        return ""
    if decided.empty:
        return f" Its refuters decide nothing: {frame['reason'].iloc[0]}."
    failed = decided[~decided["passed"].astype(bool)]
    if failed.empty:
        return f" It passes all {len(decided)} refuters ({', '.join(decided['refuter'])})."
    names = [f"{row['refuter']} ({in_brackets(row, 'estimate')})" for row in _named(failed).to_dict("records")]
    return f" It does not stand: of {len(decided)} refuters it fails {' and '.join(names)}."


def verdict_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as text, indexed by headline: columns refuter, verdict, and log-odds.

    Args:
        frame: from `refutations`.
    """
    named = _named(frame)
    verdicts = named["passed"].map({True: PASSED, False: FAILED}).fillna(UNDECIDED)
    verdicts = verdicts.where(named["refuter"] != UNALTERED, named["passed"].map({True: "shown"}).fillna("not shown"))
    numbers = [in_brackets(row, "estimate") for row in named.to_dict("records")]
    table = pd.DataFrame({"refuter": named["refuter"], "verdict": verdicts, "log-odds": numbers})
    return table.set_axis(named["subject"] + " on " + named["class"])


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"low": "estimate_low", "high": "estimate_high"})
