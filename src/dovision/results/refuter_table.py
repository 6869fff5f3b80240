"""The table of a run that refutes: effects of its headlines, measured again with something altered."""

from __future__ import annotations

import pyarrow as pa

from dovision.results.tables import INTEGER, NAME, NUMBER, RunTable

UNALTERED = "as it is"  # what the others are compared with
ALTERED = PLACEBO, OTHER_FILL, RANDOM_WEIGHTS = "placebo region", "unseen fill", "random weights"

REFUTERS_FILE = RunTable(
    "refuters.parquet",
    "with `refute=true`: a row per image, headline effect, refuter and unit, clean",
    keys=("sample", "headline", "refuter", "unit"),
    columns={
        "sample group": (INTEGER, "as in samples.parquet"),
        "headline": (NAME, 'the finding, such as "zone_effect"'),
        "refuter": (NAME, f'"{UNALTERED}", or what is altered: ' + ", ".join(f'"{name}"' for name in ALTERED)),
        "subject": (NAME, "the unit, mask or kind of object that the finding names"),
        "unit class": (NAME, 'as in effects.parquet; "true class" is that of each image'),
        "level": (pa.float64(), "of the intervals of the headline, the largest of several"),
        "effect": (NUMBER, "on P(class), minus the mean of control units where the headline is a difference to them"),
        "log_odds_effect": (NUMBER, "the same on log P / (1 - P)"),
    },
)
