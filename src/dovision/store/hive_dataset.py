"""The tables of runs as partitioned parquet datasets, cut by run and condition, for programs that read such folders.

effects/run=0123456789ab/condition=clean/part-0.parquet
                         condition=eps%3D8%2F255/part-0.parquet
samples/run=...
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dovision.io.atomic import replacing
from dovision.io.text_files import make_folder
from dovision.store.effect_sums import SUMS
from dovision.store.tables import EFFECTS, SAMPLES, read_schema, row_groups

TABLES = (SAMPLES, EFFECTS, SUMS)
_PART = "part-0.parquet"


def write_hive(runs: Sequence[Path], output: Path) -> list[Path]:
    """Write the tables of runs as datasets below a folder; those of the same runs that are there give way.

    Names are plain text in these files, and `run` and `condition` columns that a reader makes of the folders' names, in
    which letters other than these and digits are written as in a URL. A condition without a row has no folder.

    Args:
        runs: run directories, of different names.
        output: the folder, made if need be.

    Returns:
        The folder of each dataset.

    Raises:
        FileNotFoundError, ValueError: a table of a run is not there, or damaged.
        ValueError: two runs have one name, by which the rows of one would replace those of the other.
    """
    _check_names(runs)
    make_folder(output, setting="output")
    written = []
    for name in TABLES:
        folder = output / Path(name).stem
        for run in runs:
            place = folder / f"run={quote(run.name, safe='')}"
            shutil.rmtree(place, ignore_errors=True)
            if name != SUMS or (run / name).is_file():
                _write(run / name, place)
        written += [folder] if folder.is_dir() else []
    return written


def _check_names(runs: Sequence[Path]) -> None:
    first: dict[str, Path] = {}
    for run in runs:
        if first.setdefault(run.name, run) is not run:
            raise ValueError(
                f"the runs of an export must have folders of different names, got {first[run.name]} and {run}. Export "
                "each to an output=... of its own, or rename one."
            )


def _write(path: Path, place: Path) -> None:
    """The rows of a table, a row group at a time, each to the file of its condition."""
    schema = _plain(read_schema(path)).remove(read_schema(path).get_field_index("condition"))
    with ExitStack() as stack:
        files: dict[str, pq.ParquetWriter] = {}
        for table in row_groups(path):
            for condition, rows in _by_condition(table):
                if condition not in files:
                    folder = place / f"condition={quote(condition, safe='')}"
                    folder.mkdir(parents=True, exist_ok=True)
                    partial = stack.enter_context(replacing(folder / _PART))
                    files[condition] = stack.enter_context(pq.ParquetWriter(partial, schema, compression="zstd"))
                files[condition].write_table(rows.cast(schema))


def _by_condition(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    condition = table["condition"].cast(pa.string())
    rest = table.drop_columns(["condition"])
    for name in pc.unique(condition).to_pylist():
        yield name, rest.filter(pc.equal(condition, name))


def _plain(schema: pa.Schema) -> pa.Schema:
    """The columns with names as text: categories of one file are not those of another."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in schema
    ]
    return pa.schema(fields, metadata=schema.metadata)
