"""Tables of a run: their declarations, the one writer, and the one reader.

Rows come image by image, within an image condition by condition, unit by unit, class by class; readers rely on the
columns alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import Tensor

from dovision.config.row_choices import ALL_ROWS
from dovision.functional.effects import RESOLUTION
from dovision.io.atomic import replacing
from dovision.types import Box, Task

TABLE_FORMAT = "5"  # raised whenever a column changes its name, type or meaning
ROW_GROUP = 100_000  # rows
CLEAN = "clean"  # the condition of the images as they are

NAME = pa.dictionary(pa.int32(), pa.string())  # few names, each many times
INTEGER, NUMBER, FLAG, NUMBERS = pa.int64(), pa.float32(), pa.bool_(), pa.list_(pa.float32())  # types of columns
METADATA = {"dovision_format": TABLE_FORMAT}
ROWS = "dovision_rows"  # which classes have rows, in the metadata of effects.parquet, unless all have
TASK = "dovision_task"  # the classes, in the metadata of samples.parquet
PER_CLASS = ("probabilities", "logits")  # columns of samples.parquet with a list of numbers, one a class
REMOVED, RESUMED, STAYS = "measured again", "resumed", "continued"  # a file of an unfinished run, by a new start


@dataclass(frozen=True, eq=False)
class RunFile:
    """File of a run directory, or several of one pattern; `folder / file` is the path.

    Args:
        path: in the run directory, with * for names.
        meaning: the content, for docs/reference/run_directory.md.
        digested: whether run.json records its digest once the run is completed.
        restart: what a new start makes of it, REMOVED, RESUMED or STAYS.
    """

    path: str
    meaning: str
    digested: bool = True
    restart: str = REMOVED

    def __fspath__(self) -> str:
        return self.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFile) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def find(self, folder: Path) -> list[Path]:
        """Paths of the file in a run directory."""
        return sorted(folder.glob(self.path))


@dataclass(frozen=True, eq=False, kw_only=True)
class RunTable(RunFile):
    """Table of a run: file, columns, and key columns.

    Args:
        columns: type and meaning by names, those of columns that share both separated by blanks.
        keys: names of the columns by which rows differ.
    """

    columns: Mapping[str, tuple[pa.DataType, str]]
    keys: tuple[str, ...]

    def schema(
        self,
        metadata: Mapping[str, str] = MappingProxyType({}),
        types: Mapping[str, pa.DataType] = MappingProxyType({}),
    ) -> pa.Schema:
        """Schema, with some types replaced and metadata besides the format."""
        declared = {name: column for names, (column, _) in self.columns.items() for name in names.split()}
        return pa.schema(declared | dict(types), metadata=METADATA | dict(metadata))

    def named(self, name: str) -> RunTable:
        """Table with this name, among several of one pattern."""
        return replace(self, path=self.path.replace("*", name))

    def from_frame(self, frame: pd.DataFrame) -> pa.RecordBatch:
        """Convert a frame with the table's columns, in any order, to rows."""
        schema = self.schema()
        rows = pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False).combine_chunks().to_batches()
        return rows[0] if rows else pa.RecordBatch.from_pylist([], schema)

    def read(
        self, folder: Path, samples: Collection[int] | None = None, types_mapper: Callable[..., Any] | None = None
    ) -> pd.DataFrame:
        """Read the table of a run, or some samples' rows, names as text; errors as of `row_groups`."""
        table = read_table(folder / self, samples=samples)
        names = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        frame: pd.DataFrame = table.to_pandas(types_mapper=types_mapper).astype(dict.fromkeys(names, str))
        return frame


SAMPLES = RunTable(
    "samples.parquet",
    "a row per image and condition: label, prediction, all probabilities and logits, entropy, margin, success of the "
    "attack",
    keys=("sample", "condition"),
    columns={
        "sample": (INTEGER, "the place in the split's order"),
        "name": (pa.string(), "the file or name of the image"),
        "group": (INTEGER, "the patient"),
        "condition": (NAME, '"clean", or such as "eps=0.1" and "eps=8/255"'),
        "eps": (pa.float64(), "the epsilon in pixel units, 0 for clean"),
        "label prediction": (INTEGER, "a class number; for multilabel a list of zeros and ones; -1 where not known"),
        "probability": (NUMBER, "the highest class probability"),
        "entropy": (NUMBER, "nats; for multilabel the sum of the labels' binary entropies"),
        "margin": (NUMBER, "highest minus second-highest probability; for multilabel the smallest 2 |P - threshold|"),
        "correct": (FLAG, "the label, or each of the known labels, was predicted; null where none is known"),
        "success": (
            FLAG,
            "right before the attack and wrong after it; null for clean and for images wrong before. Of an image "
            "without a label: the prediction is another",
        ),
        "success_8bit": (FLAG, "the same after the attacked image was rounded to 8 bits"),
        "linf l2": (NUMBER, "norms of attacked minus clean image, pixel units"),
        "mean_abs_expected_effect": (NUMBER, "mean of |expected effect| over units; for multilabel also over labels"),
        "mean_expected_logit_effect": (NUMBER, "mean of expected_logit_effect of effects.parquet, over the same"),
        " ".join(PER_CLASS): (NUMBERS, "P(y_k given x) and the logit of each class"),
    },
)
EFFECTS = RunTable(
    "effects.parquet",
    "a row per image, condition, unit and class: control, treated, effect, log-odds effect, expected effect, the same "
    "of logits (change of the logits weighted by P(y given x)), and the divergence by class",
    keys=("sample", "condition", "unit", "class"),
    columns={
        "sample": (INTEGER, "as in samples.parquet"),
        "condition unit class": (NAME, "names; of the classes that `evaluation.rows` chooses"),
        "control treated": (NUMBER, "P(y_k given x) and P(y_k given do(u), x) in the condition"),
        "effect": (NUMBER, "treated minus control"),
        "log_odds_effect": (NUMBER, "the same on log P / (1 - P)"),
        "expected_effect": (NUMBER, "effect weighted by P(y_k given x); for multiclass one number of the unit"),
        "expected_logit_effect": (NUMBER, "the same of logits: their change weighted by P(y_k given x)"),
        "divergence": (
            NUMBER,
            "the class's term of KL(P(y given x) || P(y given do(u), x)), nats, which is their sum; for multilabel the "
            "KL of the label",
        ),
        "top left bottom right": (
            pa.int32(),
            "what the unit touches, in pixels of the image; null if it has no place in the image",
        ),
    },
)


def samples_schema(task: Task) -> pa.Schema:
    """Schema of samples.parquet, with the classes in the metadata."""
    numbers = dict.fromkeys(("label", "prediction"), pa.list_(pa.int8())) if task.multilabel else {}
    return SAMPLES.schema({TASK: json.dumps(asdict(task))}, numbers)


def effects_schema(rows: str = ALL_ROWS) -> pa.Schema:
    """Schema of effects.parquet, with the choice of classes in the metadata."""
    return EFFECTS.schema({} if rows == ALL_ROWS else {ROWS: rows})


def repeated(name: str, count: int) -> pa.DictionaryArray:
    """Column with one name in every row."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([name], pa.string()))


def success(correct: Tensor, before: Tensor) -> pa.Array:
    """Success of an attack: true if a correct image is now wrong, null if it was wrong; shape (B,), on the CPU."""
    return pa.array(~correct.numpy(), mask=~before.numpy())


def boxes_of(rows: pd.DataFrame) -> list[Box]:
    """Boxes of rows with columns top, left, bottom, right in whole numbers."""
    return [Box(*map(int, edges)) for edges in rows[list(Box._fields)].to_numpy()]


class TableWriter:
    """Streaming writer of a table in row groups, in bounded memory; renamed when complete.

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
        self._context = self._open()

    def __enter__(self) -> TableWriter:
        self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._context.__exit__(*error)

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows of the table's schema."""
        self._waiting += [rows] if isinstance(rows, pa.RecordBatch) else rows.to_batches()
        count = sum(map(len, self._waiting))
        if count >= self.row_group:
            self._flush(count - count % self.row_group)

    @contextmanager
    def _open(self) -> Iterator[None]:
        with (
            replacing(self.path) as partial,
            pq.ParquetWriter(partial, self.schema, compression="zstd", write_page_checksum=True) as self._file,
        ):
            yield
            self._flush(sum(map(len, self._waiting)))

    def _flush(self, count: int) -> None:
        table = pa.Table.from_batches(self._waiting, self.schema).unify_dictionaries()
        for start in range(0, count, self.row_group):
            rows = table.slice(start, min(self.row_group, count - start))
            self._file.write_table(_with_own_dictionaries(rows), row_group_size=self.row_group)
        self._waiting = table.slice(count).to_batches()


def write_table(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table], row_group: int | None = None
) -> None:
    """Write a table at once; `row_group` as of `TableWriter`."""
    with TableWriter(path, schema, row_group) as table:
        for rows in batches:
            table.write(rows)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as a table, its columns with the types that they have."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(METADATA)
    write_table(path, table.schema, [table])


def _with_own_dictionaries(table: pa.Table) -> pa.Table:
    """Rebuild dictionaries in the order of the rows, so that equal rows have equal bytes."""
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            names = table.column(number).cast(field.type.value_type).combine_chunks().dictionary_encode()
            table = table.set_column(number, field, names)
    return table.combine_chunks()


def row_groups(
    path: Path,
    columns: Sequence[str] | None = None,
    samples: Collection[int] | None = None,
    detector: str | None = None,
) -> Iterator[pa.Table]:
    """Iterate over a table by row group; optionally some columns, or the rows of some samples.

    Args:
        path: the file.
        columns: names of those that are read, with the first one or "detector" where it chooses the rows.
        samples: whose rows are read: numbers of the first column, of sums those of groups.
        detector: whose rows are read, of a table that has such a column.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the file is damaged, or of another format; the error names it and the remedy.
    """
    ordered = np.sort(np.array([] if samples is None else list(samples), np.int64))
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            first = file.metadata.row_group(number).column(0).statistics
            if samples is not None and np.ptp(np.searchsorted(ordered, [first.min, first.max + 1])) == 0:
                continue
            if detector is not None:
                held = file.metadata.row_group(number).column(file.schema_arrow.get_field_index("detector")).statistics
                if held is not None and held.has_min_max and not held.min <= detector <= held.max:
                    continue
            table = file.read_row_group(number, columns=columns)
            if samples is not None:
                table = table.filter(pc.is_in(table.column(0), pa.array(ordered)))
            yield table if detector is None else table.filter(pc.equal(table["detector"], detector))


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    samples: Collection[int] | None = None,
    detector: str | None = None,
) -> pa.Table:
    """Read all row groups, or an empty table of all columns; arguments and errors as of `row_groups`."""
    groups = list(row_groups(path, columns, samples, detector))
    return pa.concat_tables(groups or [read_schema(path).empty_table()])


def read_schema(path: Path) -> pa.Schema:
    """Read the schema of a table with its metadata; errors as of `row_groups`."""
    with _opened(path) as file:
        return file.schema_arrow


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a table of a run, got no such file. Run the evaluation again.")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            got = (file.schema_arrow.metadata or {}).get(b"dovision_format", b"none").decode()
            if got != TABLE_FORMAT:
                raise ValueError(
                    f"{path} must be of table format {TABLE_FORMAT}, got {got}. Run the evaluation again, or read it "
                    "with the version of dovision that wrote it (named in run.json)."
                )
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} must be a parquet table, got a damaged file ({str(error).splitlines()[0]}). "
            f"Delete the folder {path.parent} and run again."
        ) from error


def largest_effect(effects: pd.DataFrame) -> float:
    """Largest effect size, at least what float32 resolves; it sets the deepest colour."""
    return max(float(effects["effect"].abs().max()), RESOLUTION) if len(effects) else RESOLUTION


def largest_log_odds_effect(effects: pd.DataFrame) -> float:
    """Largest finite log-odds effect on an image's likeliest class; 1 if that is 0."""
    likeliest = effects.groupby(["sample", "condition"], sort=False)["control"].transform("max").eq(effects["control"])
    sizes = effects.loc[likeliest, "log_odds_effect"].astype(float).abs()
    return float(sizes[np.isfinite(sizes)].max()) if np.isfinite(sizes).any() and sizes.max() > 0 else 1.0


def read_samples(folder: Path, per_class: Sequence[str] = ()) -> pd.DataFrame:
    """Read samples.parquet, ordered by epsilon (clean first) and sample, `condition` as text.

    Of the columns PER_CLASS only those of `per_class` are read.
    """
    path = folder / SAMPLES
    columns = [name for name in read_schema(path).names if name not in PER_CLASS or name in per_class]
    frame: pd.DataFrame = read_table(path, columns).to_pandas().astype({"condition": str})
    if frame.empty:
        raise ValueError(f"{path} must have rows, got none. Delete the folder {folder} and run again.")
    frame["attacked"] = frame["condition"] != CLEAN
    ordered = frame.sort_values(["attacked", "eps", "condition", "sample"], kind="stable", ignore_index=True)
    return ordered.drop(columns="attacked")


def measured_samples(folder: Path, conditions: Sequence[str]) -> set[int]:
    """Samples with a row of samples.parquet in every condition."""
    rows = read_table(folder / SAMPLES, ["sample", "condition"]).to_pandas()
    return set.intersection(*(set(rows.loc[rows["condition"] == condition, "sample"]) for condition in conditions))


def images_without_units(folder: Path) -> int:
    """Number of clean images without a unit, such as those with an empty mask."""
    rows = read_table(folder / SAMPLES, ["condition", "mean_abs_expected_effect"]).to_pandas()
    return int(rows.loc[rows["condition"] == CLEAN, "mean_abs_expected_effect"].isna().sum())


def read_task(folder: Path) -> Task:
    """Task of samples.parquet: classes and, for multilabel, thresholds."""
    stated = json.loads(read_schema(folder / SAMPLES).metadata[TASK.encode()])
    return Task(stated["kind"], tuple(stated["classes"]), tuple(stated["thresholds"]))


def read_row_choice(folder: Path) -> str:
    """Classes that effects.parquet has rows of: `evaluation.rows` of the run."""
    return (read_schema(folder / EFFECTS).metadata or {}).get(ROWS.encode(), ALL_ROWS.encode()).decode()


def has_all_rows(folder: Path) -> bool:
    """Return whether effects.parquet has all classes; means over units that vary between images need them."""
    return read_row_choice(folder) == ALL_ROWS


def has_rows(folder: Path) -> bool:
    """Return whether effects.parquet has any row."""
    with _opened(folder / EFFECTS) as file:
        return bool(file.metadata.num_rows)


def read_groups(folder: Path) -> pd.Series[int]:
    """Group (patient) of each sample of samples.parquet."""
    rows = read_table(folder / SAMPLES, ["sample", "group"]).to_pandas()
    return rows.drop_duplicates("sample").set_index("sample")["group"]


def read_effects(folder: Path, samples: Collection[int]) -> pd.DataFrame:
    """Read effects.parquet for some samples, with `condition`, `unit` and `class` as text."""
    return EFFECTS.read(folder, samples=samples)
