"""Rows of a completed run measured again on a share of its images, and their agreement with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import hypergeom
from torch.utils.data import DataLoader, Subset

from dovision.analysis.detection_summary import DETECTION, detection, read_detection
from dovision.analysis.detector_comparison import detector_differences, read_comparison
from dovision.analysis.summary import write_summary
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings
from dovision.config.sources import leaves
from dovision.evaluation import callbacks
from dovision.evaluation.callback import ClassifierUnderTest
from dovision.evaluation.callbacks import EvaluationInputs
from dovision.identity.plans import CLASSIFIER
from dovision.store.detection_tables import ADAPTIVE_ATTACKS, ADAPTIVE_STEPS, COMPARISON, SCORES, TEST, VAL
from dovision.store.effect_sums import LOG_ODDS_QUANTUM, LOG_ODDS_SUM, QUANTUM, SUMS
from dovision.store.run_files import RUN_FILES
from dovision.store.schemas import SUMMARY, read_summary
from dovision.store.tables import CLEAN, RunTable, read_schema, read_table
from dovision.store.unit_masks import MASKS_FILE, OBJECT_MASKS_FILE
from dovision.training.data_module import ImageDataModule
from dovision.training.trainer import make_trainer
from dovision.types import Batch

FORGED = 0.05  # share of the batches whose forgery the power is stated for
_NAMED = 3  # rows that differ, of a table
_REPEAT = "repeat"  # column that numbers rows of equal keys
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
    read: Mapping[str, Collection[int]] = MappingProxyType({VAL: (), TEST: ()})  # by detectors, of each split
    adaptive: Collection[int] = ()  # of test images, by adaptive attacks
    pictured: Collection[RunTable] = ()  # tables of the images that are pictured: of a share, these and others

    def rows(self, table: RunTable, folder: Path) -> pd.DataFrame:
        """Read the rows of a table to be compared."""
        left_out = self.adaptive if table == ADAPTIVE_STEPS else self.evaluated
        if "split" in table.keys:
            left_out = set(self.read[VAL]).intersection(() if table == SCORES else self.read[TEST])
        if table == SUMS:
            return table.read(folder)
        present = set(read_table(folder / table, ["sample"])["sample"].to_pylist())
        rows = table.read(folder, present.difference(left_out))
        if table == SCORES:
            return rows[~(rows["attack"].isin(ADAPTIVE_ATTACKS) & rows["sample"].isin(self.adaptive))]
        for split, samples in self.read.items() if "split" in table.keys else ():
            rows = rows[(rows["split"] != split) | ~rows["sample"].isin(samples)]
        return rows


def measure_again(settings: EvaluateSettings, inputs: EvaluationInputs, chosen: ImageShare) -> tuple[int, Remainder]:
    """Write tables of a share of a run's images as its evaluation does; return how many, and the samples left out.

    Detectors are fitted to, and score, what the run has recorded of all images; of the share it is read again.
    """
    evaluation, images = settings.evaluation, inputs.images
    samples = chosen.drawn(inputs.samples)
    intervention = settings.intervention.make()
    intervention.bind(images, evaluation.split)
    effects = callbacks.effect_evaluation(settings, inputs, intervention, settings.attack.make())
    maps = callbacks.map_evaluation(settings, inputs)
    trainer = make_trainer(settings.trainer, [effects, *maps], enable_checkpointing=False)
    data = callbacks.evaluation_data(settings, images, samples)
    trainer.test(ClassifierUnderTest(inputs.networks[CLASSIFIER]), datamodule=data, verbose=False)
    callbacks.write_objects(inputs.folder, images, evaluation.split, samples, bool(maps))
    pictured = (MASKS_FILE,) if maps else (MASKS_FILE, OBJECT_MASKS_FILE)
    remainder = Remainder({*inputs.samples}.difference(samples), pictured=pictured)
    if (setup := callbacks.detection_setup(settings)) is None:  # a dataset may then lack a validation split
        return len(samples), remainder
    callbacks.run_detection(settings, inputs, setup, (), chosen)
    most = settings.detection
    firsts = [(VAL, most.val_images), (TEST, most.test_images), (TEST, most.adaptive.images)]
    val, test, adaptive = ({*(first := chosen.first(*of))}.difference(chosen.drawn(first)) for of in firsts)
    return len(samples), remainder._replace(read={VAL: val, TEST: test}, adaptive=adaptive)


def table_agreement(
    recorded: Path, recomputed: Path, remainder: Remainder, tolerance: float, attacked: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Agreement of each table of a run with rows that were measured again, and sentences on rows that differ.

    A number deviates by |recomputed - recorded| / max(1, |recorded|), a whole number by the difference itself, a row by
    the largest of its numbers.

    Args:
        recorded: the run directory.
        recomputed: the folder with the tables of some of its images.
        remainder: the samples that were not measured again.
        tolerance, attacked: deviations that pass, of rows of clean images and of attacked ones.

    Returns:
        A row per table: recorded rows; those recomputed that are equal, deviate within the tolerance, and differ, such
        as by being missing; the largest finite deviation; and how many rows are not compared, or why.
    """
    tables = [file for file in RUN_FILES if isinstance(file, RunTable)]
    there = {path.relative_to(recomputed) for table in tables for path in table.find(recomputed)}
    rows, sentences = [], [f"{path}: missing" for path in there if not (recorded / path).is_file()]
    for path, table in ((path, file) for file in tables for path in file.find(recorded)):
        name, count = path.relative_to(recorded).as_posix(), len(read_table(path, table.keys[:1]))
        if (table == SUMS and remainder.evaluated) or not (recomputed / name).is_file():
            reason = "sums over all images: share=1" if table == SUMS else "not measured here"
            rows.append(_agreement(name, count, np.zeros(0), 0, reason)[0])
            continue
        table = table.named(path.stem)
        joined, deviations = _compared(table, recorded, recomputed, remainder)
        condition = joined.get("condition", joined.get("attack", pd.Series(CLEAN, joined.index)))
        compared = int((joined["_merge"] != "right_only").sum())
        limits = np.where(condition == CLEAN, tolerance, attacked)
        row, beyond = _agreement(name, count, deviations.max(axis=1).to_numpy(), limits, count - compared)
        rows.append(row)
        if read_schema(path).metadata != read_schema(recomputed / name).metadata:
            sentences.append(f"{name}: its metadata, such as the names of classes, differ")
        sentences += [
            f"{name}: {_sentence(joined.iloc[n], table.keys, deviations.iloc[n].idxmax())}" for n in beyond[:_NAMED]
        ]
    return rows, sentences


def derived_agreement(
    recorded: Path, folder: Path, settings: EvaluateSettings, tolerance: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Agreement of a run's summary and results of detection with those that follow from its recorded tables.

    The summary that follows is written to `folder`. Returns as `table_agreement`; what only one of both has, differs.
    """
    try:
        write_summary(recorded, folder)
        pairs: dict[str, tuple[Any, Any]] = {SUMMARY: (read_summary(recorded), read_summary(folder))}
        if settings.detector:
            pairs[DETECTION] = read_detection(recorded).to_dict("list"), detection(recorded).to_dict("list")
        if settings.detector and (reference := settings.detection.reference) is not None:
            again = detector_differences(recorded, reference).to_dict("list")
            pairs[COMPARISON.path] = read_comparison(recorded).to_dict("list"), again
    except (OSError, ValueError, KeyError) as error:  # such as without a table, or with one that was edited
        return [], [f"{SUMMARY}: cannot be compared with the recorded tables: {error_text(error)}"]
    rows, sentences = [], []
    for name, pair in pairs.items():
        before, after = (dict(leaves(values)) for values in pair)
        values = {key: (before.get(key, "nothing"), after.get(key, "nothing")) for key in {**before, **after}}
        deviations = np.array([_deviation([one], [other], 1)[0] for one, other in values.values()])
        row, beyond = _agreement(name, len(before), deviations, tolerance, 0)
        rows.append(row)
        differing = [(key, *values[key]) for key in np.array([*values])[beyond[:_NAMED]]]
        sentences += [f"{name}: {key} {one}, of the recorded tables {other}" for key, one, other in differing]
    return rows, sentences


def _agreement(
    name: str, count: int, deviations: npt.NDArray[np.float64], limits: Any, not_compared: int | str
) -> tuple[dict[str, Any], npt.NDArray[np.intp]]:
    """Row of `table_agreement`, and the places of the deviations beyond their limits."""
    beyond, equal = np.flatnonzero(deviations > limits), int((deviations == 0).sum())
    counts = {"equal": equal, "within": len(deviations) - equal - len(beyond), "different": len(beyond)}
    largest = deviations[np.isfinite(deviations)].max(initial=0)
    return {"table": name, "rows": count, **counts, "largest": f"{largest:.1e}", "not compared": not_compared}, beyond


def _compared(
    table: RunTable, recorded: Path, recomputed: Path, remainder: Remainder
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows joined by their keys, and the deviation of each number; infinite in rows of one table alone."""
    before, after = remainder.rows(table, recorded), table.read(recomputed)
    if remainder.evaluated and table in remainder.pictured:
        after = after[after["sample"].isin(before["sample"])]
    keys = list(table.keys)
    text = {name: object for name in keys if before[name].dtype == "str"}  # pandas joins no empty columns of text
    before, after = (  # a row that is there twice has another number each time
        rows.astype(text).assign(**{_REPEAT: rows.groupby(keys, observed=True, dropna=False).cumcount()})
        for rows in (before, after)
    )
    joined = before.merge(after, on=[*keys, _REPEAT], how="outer", suffixes=("", " again"), indicator=True)
    columns = [name for name in {**before, **after} if name not in (*keys, _REPEAT)]
    both = joined[joined["_merge"] == "both"]
    lacking = ["lacking"] * len(both)  # where a column is in one table alone
    pairs = {name: (both.get(name, lacking), both.get(f"{name} again", lacking)) for name in columns}
    deviations = {name: _deviation(*pair, _QUANTA.get(name, 1)) for name, pair in pairs.items()}
    return joined, pd.DataFrame(deviations, both.index, dtype=float).reindex(joined.index, fill_value=math.inf)


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


def _sentence(row: pd.Series[Any], keys: Collection[str], column: str) -> str:
    lacking = {"left_only": "not among the recomputed rows", "right_only": "missing"}
    got = lacking.get(row["_merge"]) or f"{column} {row.get(column)}, recomputed {row.get(f'{column} again')}"
    return f"{', '.join(f'{key} {row[key]}' for key in keys)}: {got}"
