"""The two tables of a run: their columns, how they are written as the run goes, and how they are read.

Rows come image by image, within an image condition by condition, unit by unit, class by class; readers rely on the
columns alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import Tensor

from dovision.functional.effects import RESOLUTION
from dovision.io.atomic import replacing
from dovision.io.files import regular
from dovision.types import Box, Task

SAMPLES = "samples.parquet"
EFFECTS = "effects.parquet"
TABLE_FORMAT = "3"  # raised whenever a column changes its name, type or meaning
ROW_GROUP = 100_000  # rows
CLEAN = "clean"  # the condition of the images as they are

NAME = pa.dictionary(pa.int32(), pa.string())  # few names, each many times
METADATA = {"dovision_format": TABLE_FORMAT}
TASK = "dovision_task"  # the classes, in the metadata of samples.parquet
PER_CLASS = ("probabilities", "logits")  # columns of samples.parquet with a list of numbers, one a class


def repeated(name: str, count: int) -> pa.DictionaryArray:
    """A column of NAME with one name in each of its rows."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([name], pa.string()))


def success(correct: Tensor, before: Tensor) -> pa.Array:
    """True where right images are wrong now, and null for those that were not; shapes (B,) bool, on the CPU."""
    return pa.array(~correct.numpy(), mask=~before.numpy())


def boxes_of(rows: pd.DataFrame) -> list[Box]:
    """The boxes of rows with columns top, left, bottom, right, whole numbers."""
    return [Box(*map(int, edges)) for edges in rows[list(Box._fields)].to_numpy()]


def samples_schema(task: Task) -> pa.Schema:
    """Columns of samples.parquet, a row per (sample, condition).

    sample, name, group     the place in the split's order, the file or name of the image, the patient
    condition, eps                "clean", or such as "eps=0.1" and "eps=8/255"; the epsilon in pixel units, 0 for clean
    label, prediction       a class number; for multilabel a list of zeros and ones, -1 where not known
    probability             the highest class probability
    entropy                 nats; for multilabel the sum of the labels' binary entropies
    probabilities, logits   P(y_k | x) and the logit of each class, a list
    margin                  highest minus second-highest probability; for multilabel the smallest 2 |P - threshold|
    correct                 the label, or each of the labels, was predicted
    success                 right before the attack and wrong after it; null for clean and for images wrong before
    success_8bit            the same after the attacked image was rounded to 8 bits
    linf, l2                norms of attacked minus clean image, pixel units
    mean_abs_expected_effect  mean of |expected effect| over units; for multilabel over units and labels
    mean_expected_logit_effect  mean of expected_logit_effect of effects.parquet, over the same
    """
    number = pa.list_(pa.int8()) if task.multilabel else pa.int64()
    columns = {"sample": pa.int64(), "name": pa.string(), "group": pa.int64(), "condition": NAME, "eps": pa.float64()}
    columns |= {"label": number, "prediction": number}
    columns |= dict.fromkeys(("probability", "entropy", "margin"), pa.float32())
    columns |= dict.fromkeys(("correct", "success", "success_8bit"), pa.bool_())
    columns |= dict.fromkeys(("linf", "l2", "mean_abs_expected_effect", "mean_expected_logit_effect"), pa.float32())
    columns |= dict.fromkeys(PER_CLASS, pa.list_(pa.float32()))
    return pa.schema(columns, metadata=METADATA | {TASK: json.dumps(asdict(task))})


def effects_schema() -> pa.Schema:
    """Columns of effects.parquet, a row per (sample, condition, unit, class).

    control, treated        P(y_k | x) and P(y_k | do(u), x) in the condition
    effect                  treated minus control
    log_odds_effect         the same on log P / (1 - P)
    expected_effect         effect weighted by P(y_k | x); for multiclass one number of the unit, in each row of it
    expected_logit_effect   the same of logits: their change weighted by P(y_k | x)
    divergence              the class's term of KL(P(y | x) || P(y | do(u), x)), nats, which is their sum; multilabel:
                            the KL of the label
    top, left, bottom, right  what the unit touches, in pixels of the image; null if it has no place in the image
    """
    columns = {"sample": pa.int64(), **dict.fromkeys(("condition", "unit", "class"), NAME)}
    numbers = ("control", "treated", "effect", "log_odds_effect", "expected_effect", "expected_logit_effect")
    columns |= dict.fromkeys((*numbers, "divergence"), pa.float32())
    columns |= dict.fromkeys(("top", "left", "bottom", "right"), pa.int32())
    return pa.schema(columns, metadata=METADATA)


class TableWriter:
    """A table written as it comes, in row groups, in bounded memory; it has its name only once it is complete.

    Use it in a `with`: after an error in the block nothing is left. Equal rows in equal order give equal bytes, in
    whatever batches they come.

    Args:
        path: the table's final name.
        schema: its columns.
        row_group: rows that are held in memory before they are written; None is 100,000.
    """

    def __init__(self, path: Path, schema: pa.Schema, row_group: int | None = None) -> None:
        self.path = path
        self.schema = schema
        self.row_group = row_group or ROW_GROUP
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> TableWriter:
        self._context: AbstractContextManager[None] = self._open()
        self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._context.__exit__(kind, error, trace)

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows of the table's schema."""
        self._waiting.append(rows)
        count = sum(batch.num_rows for batch in self._waiting)
        if count >= self.row_group:
            self._flush(count - count % self.row_group)

    @contextmanager
    def _open(self) -> Iterator[None]:
        with (
            replacing(self.path) as partial,
            pq.ParquetWriter(partial, self.schema, compression="zstd", write_page_checksum=True) as self._file,
        ):
            yield
            self._flush(sum(batch.num_rows for batch in self._waiting))

    def _flush(self, count: int) -> None:
        table = pa.Table.from_batches(self._waiting, self.schema).unify_dictionaries()
        for start in range(0, count, self.row_group):
            rows = table.slice(start, min(self.row_group, count - start))
            self._file.write_table(_with_own_dictionaries(rows), row_group_size=self.row_group)
        self._waiting = table.slice(count).to_batches()


def _with_own_dictionaries(table: pa.Table) -> pa.Table:
    """The rows with dictionaries of their own, in the order of the rows: so that equal rows are equal bytes."""
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            names = table.column(number).cast(field.type.value_type).combine_chunks().dictionary_encode()
            table = table.set_column(number, field, names)
    return table.combine_chunks()


def row_groups(
    path: Path, columns: Sequence[str] | None = None, samples: Collection[int] | None = None
) -> Iterator[pa.Table]:
    """The table, a row group at a time; only some columns, only the rows of some samples, where these are given.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the file is damaged, or of another format; the error names it and the remedy.
    """
    _require(path)
    with _readable(path), pq.ParquetFile(regular(path), page_checksum_verification=True) as file:
        _check_format(path, file.schema_arrow)
        for number in range(file.num_row_groups):
            first = file.metadata.row_group(number).column(0).statistics  # column 0 is `sample`
            if samples is not None and not any(first.min <= sample <= first.max for sample in samples):
                continue
            table = file.read_row_group(number, columns=columns)
            yield table if samples is None else table.filter(pc.is_in(table["sample"], pa.array(samples, pa.int64())))


def largest_effect(effects: pd.DataFrame) -> float:
    """The size of the largest effect, which has the deepest colour; at least what float32 probabilities resolve.

    Args:
        effects: rows of effects.parquet, such as those of all pictured samples of a run.
    """
    return max(float(effects["effect"].abs().max()), RESOLUTION)


def read_samples(folder: Path, per_class: Sequence[str] = ()) -> pd.DataFrame:
    """samples.parquet, ordered by epsilon (clean first) and sample, with `condition` as text.

    Args:
        folder: the run directory.
        per_class: which of the columns PER_CLASS are read.
    """
    path = folder / SAMPLES
    left_out = set(PER_CLASS) - set(per_class)
    parts = [table.drop_columns(list(left_out)) for table in row_groups(path)]
    if not parts:
        raise ValueError(f"{path} must have rows, got none. Delete the folder {folder} and run again.")
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    frame["condition"] = frame["condition"].astype(str)
    frame["attacked"] = frame["condition"] != CLEAN
    ordered = frame.sort_values(["attacked", "eps", "condition", "sample"], kind="stable", ignore_index=True)
    return ordered.drop(columns="attacked")


def measured_samples(folder: Path, conditions: Sequence[str]) -> set[int]:
    """The samples that have a row of samples.parquet in each of the conditions."""
    rows = pa.Table.from_batches([], pa.schema({"sample": pa.int64(), "condition": pa.string()}))
    rows = pa.concat_tables(
        [rows, *(part.cast(rows.schema) for part in row_groups(folder / SAMPLES, rows.column_names))]
    )
    return set.intersection(
        *(set(rows.filter(pc.equal(rows["condition"], condition))["sample"].to_pylist()) for condition in conditions)
    )


def read_task(folder: Path) -> Task:
    """The classes of samples.parquet, and for multilabel the thresholds from which on they were predicted."""
    stated = json.loads(next(row_groups(folder / SAMPLES, ["sample"])).schema.metadata[TASK.encode()])
    return Task(stated["kind"], tuple(stated["classes"]), tuple(stated["thresholds"]))


def read_groups(folder: Path) -> pd.Series[int]:
    """The group (patient) of each sample of samples.parquet, by sample."""
    table = pa.concat_tables(row_groups(folder / SAMPLES, ["sample", "group"]))
    return table.to_pandas().drop_duplicates("sample").set_index("sample")["group"]


def read_effects(folder: Path, samples: Collection[int]) -> pd.DataFrame:
    """The rows of effects.parquet of a few samples, with `condition`, `unit` and `class` as text."""
    parts = list(row_groups(folder / EFFECTS, samples=samples))
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas() if parts else effects_schema().empty_table().to_pandas()
    return frame.astype(dict.fromkeys(("condition", "unit", "class"), str))


def check_format(path: Path) -> None:
    """Raise unless a table is there, and of this version's format.

    Raises:
        FileNotFoundError, ValueError: it is not; the error names it and the remedy.
    """
    _require(path)
    with _readable(path):
        _check_format(path, pq.read_schema(path))


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a table of a run, got no such file. Run the evaluation again.")


def _check_format(path: Path, schema: pa.Schema) -> None:
    got = (schema.metadata or {}).get(b"dovision_format", b"none").decode()
    if got != TABLE_FORMAT:
        raise ValueError(
            f"{path} must be of table format {TABLE_FORMAT}, got {got}. Run the evaluation again, or read it with the "
            "version of dovision that wrote it (named in run.json)."
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} must be a parquet table, got a damaged file ({str(error).splitlines()[0]}). "
            f"Delete the folder {path.parent} and run again."
        ) from error
