"""Rows of a completed run measured again on a share of its images, and their agreement with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from torch.utils.data import DataLoader, Subset

from dovision.analysis.summary import write_summary
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings
from dovision.config.sources import leaves
from dovision.evaluation import callbacks
from dovision.evaluation.callback import ClassifierUnderTest
from dovision.evaluation.callbacks import EvaluationInputs
from dovision.identity.plans import CLASSIFIER
from dovision.identity.samples import shard_samples
from dovision.store.detection_tables import ADAPTIVE_ATTACKS, ADAPTIVE_STEPS, SCORES, TEST, VAL
from dovision.store.effect_sums import LOG_ODDS_QUANTUM, LOG_ODDS_SUM, QUANTUM, SUMS
from dovision.store.run_files import RUN_FILES
from dovision.store.schemas import SUMMARY, read_summary
from dovision.store.tables import CLEAN, RunTable
from dovision.store.unit_masks import MASKS_FILE, OBJECT_MASKS_FILE
from dovision.training.data_module import ImageDataModule
from dovision.training.trainer import make_trainer
from dovision.types import Batch

_NAMED = 3  # rows that differ, of a table
_REPEAT = "repeat"  # column that numbers rows of equal keys
_QUANTA = {"total": QUANTUM, LOG_ODDS_SUM: LOG_ODDS_QUANTUM}  # of columns that count in these


class ImageShare(ImageDataModule):
    """Data module with a random share of the batches of each split, at least one.

    Whole batches are measured as the run has measured them, to the same bits.
    """

    def __init__(self, images: Any, batch_size: int, share: float, seed: int) -> None:
        super().__init__(images, test_batch_size=batch_size)
        self.share, self.seed = share, seed

    def first_dataloader(self, split: str, most: int | None) -> DataLoader[Batch]:
        return self._loader(Subset(self.images.split(split), self.first_drawn(split, most)), self.test_batch_size)

    def first_drawn(self, split: str, most: int | None) -> list[int]:
        """Samples of the share of the first images of a split."""
        return self.drawn(range(len(self.images.order(split)))[:most])

    def drawn(self, samples: Sequence[int]) -> list[int]:
        """Samples of the share of these, in their order."""
        size = self.test_batch_size
        batches = [samples[first : first + size] for first in range(0, len(samples), size)]
        order = np.random.default_rng(self.seed).permutation(len(batches))
        numbers = sorted(order[: math.ceil(self.share * len(batches))])
        return [sample for number in numbers for sample in batches[number]]


class Drawn(NamedTuple):
    """Samples of the share of a run's images, of which tables have rows."""

    evaluated: Sequence[int]
    read: Mapping[str, Sequence[int]]  # by detectors, of each split
    adaptive: Sequence[int]  # of test images, by adaptive attacks
    pictured: Collection[RunTable]  # tables of the images that are pictured, which are others of a share

    def rows(self, table: RunTable, folder: Path) -> pd.DataFrame:
        """Read the rows of these samples; all scores but those of adaptive attacks, as detectors score all reads."""
        if table == SCORES:
            scores = table.read(folder)
            return scores[~scores["attack"].isin(ADAPTIVE_ATTACKS) | scores["sample"].isin(self.adaptive)]
        if "split" in table.keys:
            read = table.read(folder, samples=set().union(*self.read.values()))
            return pd.concat(
                read[(read["split"] == split) & read["sample"].isin(samples)] for split, samples in self.read.items()
            )
        return table.read(folder, samples=set(self.adaptive if table == ADAPTIVE_STEPS else self.evaluated))


def measure_again(settings: EvaluateSettings, inputs: EvaluationInputs, share: float, seed: int) -> Drawn:
    """Write tables of a share of a run's images, see `ImageShare`, as its evaluation does; return their samples.

    Detectors are fitted to, and score, what the run has recorded of all images; of the share it is read again.
    """
    evaluation, images = settings.evaluation, inputs.images
    chosen = ImageShare(images, evaluation.batch_size, share, seed)
    samples = chosen.drawn(shard_samples(evaluation, inputs.samples))
    intervention = settings.intervention.make()
    intervention.bind(images, evaluation.split)
    effects = callbacks.effect_evaluation(settings, inputs, intervention, settings.attack.make())
    maps = callbacks.map_evaluation(settings, inputs)
    trainer = make_trainer(settings.trainer, [effects, *maps], enable_checkpointing=False)
    data = callbacks.evaluation_data(settings, images, samples)
    trainer.test(ClassifierUnderTest(inputs.networks[CLASSIFIER]), datamodule=data, verbose=False)
    callbacks.write_objects(inputs.folder, images, evaluation.split, samples, bool(maps))
    pictured = (MASKS_FILE,) if maps else (MASKS_FILE, OBJECT_MASKS_FILE)
    if (setup := callbacks.detection_setup(settings)) is None:  # a dataset may then lack a validation split
        return Drawn(samples, {}, (), pictured)
    callbacks.run_detection(settings, inputs, setup, (), chosen)
    detection = settings.detection
    read = {VAL: detection.val_images, TEST: detection.test_images}
    of_split = {split: chosen.first_drawn(split, most) for split, most in read.items()}
    return Drawn(samples, of_split, chosen.first_drawn(TEST, detection.adaptive.images), pictured)


def table_agreement(
    recorded: Path, recomputed: Path, drawn: Drawn | None, tolerance: float, attacked: float
) -> tuple[pd.DataFrame, list[str]]:
    """Agreement of each table of a run with rows that were measured again, and sentences on rows that differ.

    A number deviates by |recomputed - recorded| / max(1, |recorded|), a whole number by the difference itself, a row by
    the largest of its numbers.

    Args:
        recorded: the run directory.
        recomputed: the folder with the tables of some of its images.
        drawn: the samples that were measured again, all of whose rows must be there; None: all of the run.
        tolerance, attacked: deviations that pass, of rows of clean images and of attacked ones.

    Returns:
        A row per table: recorded rows; those recomputed that are equal, deviate within the tolerance, and differ, such
        as by being missing; the largest finite deviation; and how many rows are not compared, or why.
    """
    tables = [file for file in RUN_FILES if isinstance(file, RunTable)]
    there = {path.relative_to(recomputed) for table in tables for path in table.find(recomputed)}
    rows, sentences = [], [f"{path}: missing" for path in there if not (recorded / path).is_file()]
    for path, table in ((path, file) for file in tables for path in file.find(recorded)):
        name, count = path.relative_to(recorded).as_posix(), _rows_in(path)
        row: dict[str, Any] = {"table": name, "rows": count, "equal": 0, "within": 0, "different": 0, "largest": "-"}
        if (table == SUMS and drawn is not None) or not (recomputed / name).is_file():
            rows.append(
                {**row, "not compared": "sums over all images: share=1" if table == SUMS else "not measured here"}
            )
            continue
        table = table.named(path.stem)
        joined, deviations = _compared(table, recorded, recomputed, drawn)
        worst = deviations.max(axis=1).to_numpy()
        condition = joined.get("condition", joined.get("attack", pd.Series(CLEAN, joined.index)))
        beyond = np.flatnonzero(worst > np.where(condition == CLEAN, tolerance, attacked))
        equal, largest = int((worst == 0).sum()), worst[np.isfinite(worst)].max(initial=0)
        counts = {"equal": equal, "within": len(worst) - equal - len(beyond), "different": len(beyond)}
        compared = int((joined["_merge"] != "right_only").sum())
        rows.append({**row, **counts, "largest": f"{largest:.1e}", "not compared": count - compared})
        sentences += [
            f"{name}: {_sentence(joined.iloc[n], table.keys, deviations.iloc[n].idxmax())}" for n in beyond[:_NAMED]
        ]
    return pd.DataFrame(rows), sentences


def summary_agreement(recorded: Path, folder: Path, tolerance: float) -> tuple[pd.DataFrame, list[str]]:
    """Agreement of the values in a run's summary with those that follow from its recorded tables.

    Args:
        recorded: the run directory.
        folder: to which the summary is written that follows.
        tolerance: the deviation that passes, as of `table_agreement`.

    Returns:
        A row as of `table_agreement`, of the values that both have, and sentences on the first that differ.
    """
    try:
        write_summary(recorded, folder)
        before, after = (dict(leaves(read_summary(of))) for of in (recorded, folder))
    except (OSError, ValueError, KeyError) as error:  # such as without a table, or with one that was edited
        return pd.DataFrame(), [f"{SUMMARY}: cannot be compared with the recorded tables: {error_text(error)}"]
    both = [name for name in before if name in after]
    deviations = [float(_deviation([before[name]], [after[name]], 1)[0]) for name in both]
    beyond = [name for name, deviation in zip(both, deviations, strict=True) if deviation > tolerance]
    equal, largest = deviations.count(0), max(filter(math.isfinite, deviations), default=0)
    counts = {"equal": equal, "within": len(both) - equal - len(beyond), "different": len(beyond)}
    row = {"table": SUMMARY, "rows": len(before), **counts, "largest": f"{largest:.1e}"}
    sentences = [f"{SUMMARY}: {name} {before[name]}, of the recorded tables {after[name]}" for name in beyond[:_NAMED]]
    return pd.DataFrame([{**row, "not compared": len(before) - len(both)}]), sentences


def _rows_in(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a table of parquet, got damaged content. Copy it again.") from error


def _compared(
    table: RunTable, recorded: Path, recomputed: Path, drawn: Drawn | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows joined by their keys, and the deviation of each number; infinite in rows of one table alone."""
    before, after = table.read(recorded) if drawn is None else drawn.rows(table, recorded), table.read(recomputed)
    if drawn is not None and table in drawn.pictured:
        before, after = (one[one["sample"].isin(other["sample"])] for one, other in ((before, after), (after, before)))
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
    got = lacking.get(row["_merge"]) or f"{column} {row[column]}, recomputed {row[f'{column} again']}"
    return f"{', '.join(f'{key} {row[key]}' for key in keys)}: {got}"
