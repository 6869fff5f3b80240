"""The order of rows: by sample, whatever the batches and the devices that they were computed on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from dovision.store.tables import TableWriter, row_groups


def by_sample(conditions: Sequence[Sequence[pa.RecordBatch]], images: int) -> pa.RecordBatch:
    """The rows of the same images in several conditions, image by image, and condition by condition within an image.

    Args:
        conditions: for each condition its rows, image by image, the same number for each image.
        images: how many images there are.
    """
    tables = [pa.Table.from_batches(rows) for rows in conditions]
    rows = [np.arange(len(table)).reshape(images, -1) for table in tables]
    starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
    order = np.concatenate([part + start for part, start in zip(rows, starts, strict=True)], axis=1)
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks().take(order.reshape(-1))
    return table.combine_chunks().to_batches()[0]


def shard_path(path: Path, rank: int, count: int) -> Path:
    """Path of the shard of a table that one of several devices writes; the table's own name if there is one device."""
    return path if count == 1 else path.with_name(f"{path.name}.part{rank}")


def join_shards(path: Path, schema: pa.Schema, count: int) -> None:
    """Join the shards of a table, in the order of the devices, and remove them."""
    shards = [shard_path(path, rank, count) for rank in range(count)]
    with TableWriter(path, schema) as table:
        for shard in shards:
            for rows in row_groups(shard):
                for batch in rows.to_batches():
                    table.write(batch)
    for shard in shards:
        shard.unlink()
