"""Findings of refuters: the sentence on a headline, and the table of verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dovision.results import sentences
from dovision.results.finding import in_brackets
from dovision.results.image_tables import OTHER_FILL, PLACEBO, UNALTERED
from dovision.results.refuters import REFUTATIONS
from dovision.results.run_record import Run


def verdict(run: Run, headline: str, subject: str, label: str) -> str:
    """Sentence on the refuters that a headline fails, or on how many it passes; empty where none were measured."""
    frame = pd.DataFrame(run.summary.get("refutations", []), columns=REFUTATIONS)
    chosen = (frame["headline"] == headline) & (frame["subject"] == subject) & (frame["class"] == label)
    frame = frame[chosen & (frame["refuter"] != UNALTERED)]
    decided = frame[frame["passed"].notna()]
    if frame.empty:
        return ""
    if decided.empty:
        return sentences.DECIDES_NOTHING.format(reason=frame["reason"].iloc[0])
    others = [name for name in (PLACEBO, OTHER_FILL) if name not in {*decided["refuter"]}]
    rest = sentences.NOT_RUN.format(names=", ".join(others)) if others else ""
    failed = decided[~decided["passed"].astype(bool)]
    if failed.empty:
        passed = "; ".join(f"{row['refuter']}{_share(row)}" for row in decided.to_dict("records"))
        return sentences.PASSES.format(count=len(decided), names=passed, rest=rest)
    names = [f"{row['refuter']} ({in_brackets(row, 'estimate')})" for row in failed.to_dict("records")]
    return sentences.FAILS.format(count=len(decided), names=" and ".join(names), rest=rest)


def verdict_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as text, indexed by headline: columns refuter, verdict, and log-odds.

    With the share that is left of an effect that should vanish.

    Args:
        frame: from `refutations`.
    """
    verdicts = frame["passed"].map({True: sentences.PASSED, False: sentences.FAILED}).fillna(sentences.UNDECIDED)
    verdicts = verdicts.where(frame["refuter"] != UNALTERED, frame["passed"].map({True: "shown"}).fillna("not shown"))
    numbers = [f"{in_brackets(row, 'estimate')}{_share(row)}" for row in frame.to_dict("records")]
    table = pd.DataFrame({"refuter": frame["refuter"], "verdict": verdicts, "log-odds": numbers})
    return table.set_axis(frame["subject"] + " on " + frame["class"])


def _share(row: Mapping[str, Any]) -> str:
    """What is left of the headline in a placebo region, which should be at most half of it, such as ", 12% left"."""
    vanishes = row["refuter"] == PLACEBO and not pd.isna(row["share"])
    return sentences.LEFT.format(share=row["share"]) if vanishes else ""
