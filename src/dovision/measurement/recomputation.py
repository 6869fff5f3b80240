"""Rows of a completed run measured again on a share of its images, and their agreement with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import hypergeom
from torch.utils.data import DataLoader, Subset

from dovision.config.errors import error_text
from dovision.config.sources import leaves
from dovision.io.text_files import read_json
from dovision.results.detection_summary import DETECTION, detection, read_detection
from dovision.results.detection_tables import ADAPTIVE_ATTACKS, ADAPTIVE_STEPS, COMPARISON, SCORES, TEST, VAL
from dovision.results.detector_comparison import detector_differences, read_comparison
from dovision.results.effect_sums import LOG_ODDS_QUANTUM, LOG_ODDS_SUM, QUANTUM, SUMS
from dovision.results.image_tables import MAPS_FILE, MASKS_FILE, OBJECT_MASKS_FILE
from dovision.results.run_files import FINDINGS, RUN_FILES
from dovision.results.run_findings import write_findings
from dovision.results.run_record import read_run
from dovision.results.schemas import SUMMARY, read_summary
from dovision.results.summary import write_summary
from dovision.results.tables import CLEAN, RunTable, read_groups, read_schema, read_table
from dovision.training.data_module import ImageDataModule
from dovision.types import Batch

FORGED = 0.05  # share of the batches whose forgery the power is stated for
_NAMED = 3  # rows that differ, of a table
_REPEAT = "repeat"  # column that numbers rows of equal keys
_NOTHING = {"equal": 0, "within": 0, "different": 0, "largest": "0.0e+00"}  # of a table
_QUANTA = {"total": QUANTUM, LOG_ODDS_SUM: LOG_ODDS_QUANTUM}  # of columns that count in these


class ImageShare(ImageDataModule):
    """Data module with a random share of the batches of each split, at least one.

    Whole batches are measured as the run has measured them, to the same bits. `power` is the least probability, of all
    draws so far, that one meets rows forged in FORGED of the batches.
    """

    def __init__(self, images: Any, batch_size: int, share: float, seed: int) -> None:
        super().__init__(images, test_batch_size=batch_size)
        self.share, self.seed, self.power = share, seed, 1.0

    def first_dataloader(self, split: str, most: int | None) -> DataLoader[Batch]:
        return self._loader(Subset(self.images.split(split), self.drawn(self.first(split, most))), self.test_batch_size)

    def first(self, split: str, most: int | None) -> Sequence[int]:
        """First samples of a split."""
        return range(len(self.images.order(split)))[:most]

    def drawn(self, samples: Sequence[int]) -> list[int]:
        """Samples of the share of these, in their order."""
        size = self.test_batch_size
        batches = [samples[start : start + size] for start in range(0, len(samples), size)]
        count, forged = math.ceil(self.share * len(batches)), math.ceil(FORGED * len(batches))
        self.power = min(self.power, float(hypergeom.sf(0, len(batches), forged, count)))
        numbers = sorted(np.random.default_rng(self.seed).permutation(len(batches))[:count])
        return [sample for number in numbers for sample in batches[number]]


class Remainder(NamedTuple):
    """Samples of a run that were not drawn; rows of all others, whether the run has measured them or not, are compared.

    Detectors score what was read of all images, but for adaptive attacks.
    """

    evaluated: Collection[int] = ()
    val: Collection[int] = ()  # of those that detectors read
    test: Collection[int] = ()
    adaptive: Collection[int] = ()  # test images of adaptive attacks

    def rows(self, table: RunTable, folder: Path) -> pd.DataFrame:
        """Read the rows of a table to be compared."""
        if table == SUMS:
            return table.read(folder)
        left_out = set(self.adaptive if table == ADAPTIVE_STEPS else self.evaluated)
        if "split" in table.keys:
            left_out = set() if table == SCORES else {*self.val} & {*self.test}
        present = set(read_table(folder / table, ["sample"])["sample"].to_pylist())
        rows = table.read(folder, present - left_out)
        if table == SCORES:
            return rows[~(rows["attack"].isin(ADAPTIVE_ATTACKS) & rows["sample"].isin(self.adaptive))]
        for split, samples in ((VAL, self.val), (TEST, self.test)) if "split" in table.keys else ():
            rows = rows[(rows["split"] != split) | ~rows["sample"].isin(samples)]
        return rows


class Agreement:
    """Agreement of a run's tables with others.

    A number deviates by |recomputed - recorded| / max(1, |recorded|), a whole number by the difference itself, a row by
    the largest of its numbers; by infinity if it is in one table alone.

    Args:
        recorded: the run directory.
        tolerance, attacked: deviations that pass, of rows of clean images and of attacked ones.
    """

    def __init__(self, recorded: Path, tolerance: float, attacked: float) -> None:
        self.recorded, self.tolerance, self.attacked = recorded, tolerance, attacked
        self.rows: list[dict[str, Any]] = []  # a row per table, see `_add`
        self.sentences: list[str] = []  # on what differs

    def of_tables(self, recomputed: Path, remainder: Remainder) -> None:
        """Compare the tables of a folder with rows of some of the images."""
        tables = [file for file in RUN_FILES if isinstance(file, RunTable)]
        there = {path.relative_to(recomputed) for table in tables for path in table.find(recomputed)}
        self.sentences += [f"{path}: missing" for path in there if not (self.recorded / path).is_file()]
        pictured = {MASKS_FILE} if (self.recorded / MAPS_FILE).is_file() else {MASKS_FILE, OBJECT_MASKS_FILE}
        for path, table in ((path, file.named(path.stem)) for file in tables for path in file.find(self.recorded)):
            count = len(read_table(path, table.keys[:1]))
            if not (recomputed / table).is_file():
                self.rows.append({"table": table.path, "rows": count, **_NOTHING, "not compared": "not measured here"})
                continue
            before, after = remainder.rows(table, self.recorded), table.read(recomputed)
            if table == SUMS:  # of groups all of whose images were measured again
                groups = read_groups(self.recorded)
                cut = groups[groups.index.isin(remainder.evaluated)]
                before, after = (rows[~rows["group"].isin(cut)] for rows in (before, after))
            elif remainder.evaluated and table in pictured:  # of a share, other images are
                after = after[after["sample"].isin(before["sample"])]
            self._add(table.path, before, after, table.keys, count)
            if read_schema(path).metadata != read_schema(recomputed / table).metadata:
                self.sentences.append(f"{table.path}: its metadata, such as the names of classes, differ")

    def of_derived(self, folder: Path, detects: bool, reference: str | None) -> None:
        """Compare the summary, the findings and results of detection with those of the recorded tables.

        Args:
            folder: takes the summary and the findings.
            detects: whether the run has detectors.
            reference: the detector that the others are compared with.
        """
        try:
            write_summary(self.recorded, folder)
            write_findings(read_run(self.recorded), folder)
            both = self.recorded, folder
            contents = {SUMMARY: map(read_summary, both), FINDINGS: [read_json(of / FINDINGS) for of in both]}
            pairs = {
                name: [pd.DataFrame(leaves(content), columns=["", "value"]).set_index("") for content in of_both]
                for name, of_both in contents.items()
            }
            if detects:
                pairs[DETECTION] = [read_detection(self.recorded), detection(self.recorded)]
            if detects and reference is not None:
                again = detector_differences(self.recorded, reference)
                pairs[COMPARISON.path] = [read_comparison(self.recorded), again]
        except (OSError, ValueError, KeyError) as error:  # such as without a table, or with one that was edited
            self.sentences.append(f"{SUMMARY}: cannot be compared with the recorded tables: {error_text(error)}")
            return
        for name, frames in pairs.items():
            before, after = (frame.rename_axis("key").reset_index() for frame in frames)
            self._add(name, before, after, ["key"], len(before))

    def _add(self, name: str, before: pd.DataFrame, after: pd.DataFrame, keys: Sequence[str], count: int) -> None:
        """Count rows that are equal, deviate within the tolerance, and differ, of `count` recorded ones."""
        text = {key: object for key in keys if before[key].dtype == "str"}  # pandas joins no empty columns of text
        before, after = (  # a row that is there twice has another number each time
            rows.astype(text).copy().assign(**{_REPEAT: rows.groupby([*keys], observed=True, dropna=False).cumcount()})
            for rows in (before, after)
        )
        joined = before.merge(after, on=[*keys, _REPEAT], how="outer", suffixes=("", " again"), indicator=True)
        both = joined[joined["_merge"] == "both"]
        lacking = ["lacking"] * len(both)  # where a column is in one table alone
        columns = [column for column in {**before, **after} if column not in (*keys, _REPEAT)]
        pairs = {column: (both.get(column, lacking), both.get(f"{column} again", lacking)) for column in columns}
        numbers = {column: _deviation(*pair, _QUANTA.get(column, 1)) for column, pair in pairs.items()}
        deviations = pd.DataFrame(numbers, both.index, dtype=float).reindex(joined.index, fill_value=math.inf)
        condition = [joined[key] for key in ("condition", "attack") if key in keys] or [CLEAN]
        limits = np.where(condition[0] == CLEAN, self.tolerance, self.attacked)
        largest = deviations.max(axis=1).to_numpy()
        beyond, equal = np.flatnonzero(largest > limits), int((largest == 0).sum())
        counts = {"equal": equal, "within": len(largest) - equal - len(beyond), "different": len(beyond)}
        most = f"{largest[np.isfinite(largest)].max(initial=0):.1e}"
        self.rows.append({"table": name, "rows": count, **counts, "largest": most, "not compared": count - len(before)})
        absent = {"left_only": "not among the recomputed rows", "right_only": "missing"}
        for row, column in ((joined.iloc[number], deviations.iloc[number].idxmax()) for number in beyond[:_NAMED]):
            got = f"{column} {row.get(column)}, recomputed {row.get(f'{column} again')}"
            named = ", ".join(f"{key} {row[key]}" for key in keys)
            self.sentences.append(f"{name}: {named}: {absent.get(row['_merge'], got)}")


def _deviation(before: Collection[Any], after: Collection[Any], scale: float) -> npt.NDArray[np.float64]:
    """Deviation of each value of a column; infinite if they are no numbers and not the same."""
    try:
        one, other = (scale * np.array(list(values), float) for values in (before, after))  # of None: nan
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        whole = scale == 1 and np.asarray(before).dtype.kind in "iub"  # such as a class: the next one is another
        with np.errstate(invalid="ignore"):
            relative = abs(other - one) / (1 if whole else np.maximum(1, abs(one)))
        deviation = np.nan_to_num(relative, nan=math.inf, posinf=math.inf)
        return np.where(same, 0, deviation).max(axis=tuple(range(1, one.ndim)), initial=0)
    except ValueError:  # text, or lists of several lengths
        pairs = list(zip(before, after, strict=True))
        if len(pairs) == 1:
            return np.array([0 if np.array_equal(*pairs[0]) else math.inf])
        return np.concatenate([_deviation([one], [other], scale) for one, other in pairs])
