"""The tables of runs as partitioned parquet datasets, cut by run and condition, for programs that read such folders.

effects/run=0123456789ab/condition=clean/part-0.parquet
                         condition=eps%3D8%2F255/part-0.parquet
samples/run=...
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
from pyarrow import dataset

from dovision.io.atomic import PARTIAL, publish
from dovision.io.text_files import make_folder
from dovision.store.effect_sums import SUMS
from dovision.store.tables import EFFECTS, NAME, SAMPLES, read_schema, row_groups


def write_hive(runs: Sequence[Path], output: Path) -> list[Path]:
    """Write the tables of runs as Hive datasets below a folder, replacing earlier ones of the same runs.

    Names are plain text in these files, and `run` and `condition` columns that a reader makes of the folders' names, in
    which letters other than these and digits are written as in a URL. A condition without a row has no folder.

    Returns:
        The folder of each dataset.

    Raises:
        FileNotFoundError, ValueError: a table of a run is not there, or damaged.
        ValueError: two runs have one name, by which the rows of one would replace those of the other.
    """
    first: dict[str, Path] = {}
    for run in runs:
        if first.setdefault(run.name, run) is not run:
            raise ValueError(
                f"the runs of an export must have folders of different names, got {first[run.name]} and {run}. Export "
                "each to an output=... of its own, or rename one."
            )
    make_folder(output, setting="output")
    folders = {table: output / Path(table).stem for table in (SAMPLES, EFFECTS, SUMS)}
    for table, folder in folders.items():
        for run in runs:
            target = folder / f"run={quote(run.name, safe='')}"
            shutil.rmtree(target, ignore_errors=True)
            if table is not SUMS or (run / table).is_file():
                _write(run / table, target)
    return [folder for folder in folders.values() if folder.is_dir()]


def _write(path: Path, folder: Path) -> None:
    """Write a table by row group, each to the file of its condition; no folder without a row."""
    stored = read_schema(path)  # its categories are not those of another file
    texts = [field.with_type(pa.string()) if field.type == NAME else field for field in stored]
    schema = pa.schema(texts, stored.metadata)
    partial = folder.parents[1] / f".{folder.name}{PARTIAL}"  # where no reader of the dataset looks
    shutil.rmtree(partial, ignore_errors=True)
    try:
        dataset.write_dataset(
            (rows for table in row_groups(path) for rows in table.cast(schema).to_batches()),
            partial,
            basename_template="part-{i}.parquet",
            format="parquet",
            schema=schema,
            partitioning=["condition"],
            partitioning_flavor="hive",
            file_options=dataset.ParquetFileFormat().make_write_options(compression="zstd"),
            use_threads=False,
        )
        if partial.is_dir():
            folder.parent.mkdir(exist_ok=True)
            publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
