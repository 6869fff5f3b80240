"""The images of a batch in one world, and the rows that they make in the tables of a run that detects."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch import Tensor

from dovision.functional.norms import size
from dovision.store.attack_tables import attacks_schema
from dovision.store.detector_features import reads_schema
from dovision.store.tables import repeated, success
from dovision.types import Batch


class World(NamedTuple):
    """The images of a batch as they are, or attacked, and how the classifier fares on them."""

    attack: str
    eps: float
    batch: Batch
    correct: Tensor  # (B,) bool


def read_rows(split: str, world: World, clean: World, read: Tensor) -> pa.RecordBatch:
    """Rows of a detector's table, of what was read, shape (B, F)."""
    columns = _columns(split, world, clean)
    offsets = np.arange(len(read) + 1, dtype=np.int32) * read.shape[1]
    columns["read"] = pa.ListArray.from_arrays(offsets, read.flatten().numpy())
    return pa.RecordBatch.from_pydict(columns, schema=reads_schema())


def attack_rows(split: str, world: World, clean: World, correct_8bit: Tensor) -> pa.RecordBatch:
    """Rows of attacks.parquet; `correct_8bit`, shape (B,), is of the images rounded to 8 bits."""
    delta = world.batch.image - clean.batch.image
    columns = _columns(split, world, clean)
    columns["success_8bit"] = success(correct_8bit, clean.correct)
    columns |= {norm: size(delta, norm).float().cpu().numpy() for norm in ("linf", "l2")}
    schema = attacks_schema()
    return pa.RecordBatch.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def _columns(split: str, world: World, clean: World) -> dict[str, Any]:
    count = len(world.correct)
    return {
        "sample": world.batch.sample.cpu().numpy(),
        "split": repeated(split, count),
        "group": world.batch.group.cpu().numpy(),
        "attack": repeated(world.attack, count),
        "eps": [world.eps] * count,
        "correct": world.correct.numpy(),
        "success": pa.nulls(count, pa.bool_()) if world is clean else success(world.correct, clean.correct),
    }
