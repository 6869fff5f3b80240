"""Numbers that a source reports, beside the same of a run: means over rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision import checks
from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import FEW_IMAGES, of_images
from dovision.functional.intervals import EFFECT_BOUNDS, NOT_MEASURED, Number, mean_interval, share_interval, withheld
from dovision.results.tables import (
    CLEAN,
    EFFECTS,
    effects_schema,
    has_all_rows,
    read_samples,
    row_groups,
    samples_schema,
)
from dovision.types import Task

SELECTORS = ("name", "condition", "unit", "class")  # columns that choose rows; all but `condition` are optional
PER_SAMPLE = tuple(samples_schema(Task("multiclass", ("a", "b"))).names)
PER_EFFECT = tuple(effects_schema().names)
YES_OR_NO = ("correct", "success", "success_8bit")
EFFECTS_ON_P = ("effect", "expected_effect", "mean_abs_expected_effect")  # below RESOLUTION they are rounding
REPORTED = "reported"  # the key of run.json
ONE_IMAGE = "of one image"


class ReportedNumber:
    """A published number, and the table rows of a run whose mean reproduces it.

    Args:
        value: as reported.
        meaning: of the number, in words.
        column: of samples.parquet or effects.parquet.
        where: what other columns must be in these rows, such as {"unit": "c5"}; `condition` is clean unless given.

    Raises:
        ValueError: there is no such column, or one of `where` that rows can be chosen by.
    """

    def __init__(self, value: float, meaning: str, column: str, where: Mapping[str, str] | None = None) -> None:
        self.value = value
        self.meaning = meaning
        self.column = checks.choice("column", column, [*PER_SAMPLE, *PER_EFFECT])
        self.where = {"condition": CLEAN, **(where or {})}
        columns = SELECTORS if column not in PER_SAMPLE else ("name", "condition")
        for name in self.where:
            checks.choice("where", name, columns)

    def measure(self, folder: Path) -> Number:
        """Mean over groups of the matching table rows of a run, with its interval; nan without rows.

        A number of effects is nan, too, where the run has not kept the rows of all classes (evaluation.rows).
        """
        if self.column not in PER_SAMPLE and not has_all_rows(folder):
            return withheld(float("nan"), 0, NOT_MEASURED)
        samples = self._chosen(read_samples(folder))
        rows = samples if self.column in PER_SAMPLE else self._effects(folder, samples)
        values, groups = rows[self.column].to_numpy(float), rows["group"].to_numpy()
        if self.column in YES_OR_NO:
            interval = share_interval(values, groups)
        elif self.column in EFFECTS_ON_P:
            interval = mean_interval(values, groups, RESOLUTION, bounds=EFFECT_BOUNDS)
        else:
            interval = mean_interval(values, groups)
        images = rows.loc[np.isfinite(values), "sample"].nunique()
        if images == 1 and "name" in self.where:  # a measurement of the image that the number names, and no estimate
            return withheld(interval.value, interval.n, ONE_IMAGE)
        return of_images(interval, images)

    def _effects(self, folder: Path, samples: pd.DataFrame) -> pd.DataFrame:
        """Rows of effects.parquet of these samples, with their groups."""
        columns = ["sample", "condition", "unit", "class", self.column]
        tables = row_groups(folder / EFFECTS, columns, samples["sample"].unique())
        chosen = [self._chosen(table.to_pandas()) for table in tables]
        rows = pd.concat(chosen) if chosen else effects_schema().empty_table().to_pandas()[columns]
        return rows.merge(samples[["sample", "group"]], on="sample")

    def _chosen(self, rows: pd.DataFrame) -> pd.DataFrame:
        for column in self.where.keys() & set(rows):
            rows = rows[rows[column].astype(str) == self.where[column]]
        return rows


class ReportedNumbers:
    """Published numbers of one source.

    Args:
        source: where, in words.
        numbers: by name.
    """

    def __init__(self, source: str, numbers: Mapping[str, ReportedNumber]) -> None:
        self.source = source
        self.numbers = dict(numbers)

    def compare(self, folder: Path) -> dict[str, Any]:
        """Compare with a run: the source, and each number's meaning, published and measured value."""
        numbers = {
            name: {"meaning": one.meaning, "reported": one.value, "here": one.measure(folder).to_dict()}
            for name, one in self.numbers.items()
        }
        return {"source": self.source, "numbers": numbers}


def comparison(compared: Mapping[str, Any]) -> pd.DataFrame:
    """Text table of `ReportedNumbers.compare`: number, reported, here, with its interval."""
    rows = [(one["meaning"], f"{one['reported']:.4g}", _text(one["here"])) for one in compared["numbers"].values()]
    return pd.DataFrame(rows, columns=["number", "reported", "here"])


def comparison_lines(compared: Mapping[str, Any]) -> Sequence[str]:
    """Format `ReportedNumbers.compare` for a terminal."""
    table = comparison(compared)
    rows = [tuple(table), *table.itertuples(index=False)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return [f"beside {compared['source']}:", *("  ".join(row).rstrip() for row in cells)]


def _text(interval: Mapping[str, Any]) -> str:
    if interval["estimate"] is None:
        return f"- ({interval['reason'] if interval['reason'] == FEW_IMAGES else 'no such row was measured'})"
    if interval["reason"] == ONE_IMAGE:
        return f"{interval['estimate']:.4g} ({ONE_IMAGE}, no interval)"
    ends = f"-: {interval['reason']}" if interval["low"] is None else f"{interval['low']:.4g}, {interval['high']:.4g}"
    return f"{interval['estimate']:.4g} [{ends}]"
