"""Refuters of a headline as text, and the table of their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dovision.results.finding import in_brackets
from dovision.results.image_tables import PLACEBO, UNALTERED
from dovision.results.refuters import REFUTATIONS
from dovision.results.run_record import Run
from dovision.results.sentences import FAILED, PASSED, UNDECIDED


def verdict(run: Run, headline: str, subject: str, label: str) -> tuple[bool, str]:
    """Whether a headline fails a refuter, and what each of its refuters says; empty where none were measured."""
    frame = pd.DataFrame(run.summary.get("refutations", []), columns=REFUTATIONS)
    of_headline = (frame["headline"] == headline) & (frame["subject"] == subject) & (frame["class"] == label)
    frame = frame[of_headline & (frame["refuter"] != UNALTERED)]
    words = frame["passed"].map({True: PASSED, False: FAILED}).fillna(UNDECIDED)
    rows = zip(frame.to_dict("records"), words, strict=True)
    texts = [f"{row['refuter']} {word} ({in_brackets(row, 'estimate')}{_share(row)})" for row, word in rows]
    return bool((frame["passed"] == False).any()), "; ".join(texts)  # noqa: E712, where None is not decided


def verdict_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as text, indexed by headline: columns refuter, verdict, and log-odds.

    With the share that is left of an effect that should vanish.

    Args:
        frame: from `refutations`.
    """
    verdicts = frame["passed"].map({True: PASSED, False: FAILED}).fillna(UNDECIDED)
    verdicts = verdicts.where(frame["refuter"] != UNALTERED, frame["passed"].map({True: "shown"}).fillna("not shown"))
    numbers = [f"{in_brackets(row, 'estimate')}{_share(row)}" for row in frame.to_dict("records")]
    table = pd.DataFrame({"refuter": frame["refuter"], "verdict": verdicts, "log-odds": numbers})
    return table.set_axis(frame["subject"] + " on " + frame["class"])


def _share(row: Mapping[str, Any]) -> str:
    """What is left of the headline in a placebo region, which should be at most half of it, such as ", 12% left"."""
    vanishes = row["refuter"] == PLACEBO and not pd.isna(row["share"])
    return f", {row['share']:.0%} left" if vanishes else ""
