"""Condition: a batch of images as they are or attacked, and its rows in the tables of a run that detects."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch import Tensor

from dovision.functional.norms import condition_name, size
from dovision.results.detection_tables import ATTACKS, READS
from dovision.results.tables import CLEAN, repeated, success
from dovision.types import Batch


class Condition(NamedTuple):
    """Images of a batch in one condition, clean or attacked at one epsilon, with the classifier's results."""

    attack: str  # its name; CLEAN for the images as they are
    eps: float
    batch: Batch
    logits: Tensor  # (B, K) of the classifier under test
    correct: Tensor  # (B,) bool

    @property
    def name(self) -> str:
        """Name of the condition in the effects table."""
        return CLEAN if self.attack == CLEAN else condition_name(self.eps)


def read_rows(split: str, condition: Condition, clean: Condition, read: Tensor) -> pa.RecordBatch:
    """Rows of a detector's table, from its reads, shape (B, F)."""
    columns = _columns(split, condition, clean)
    offsets = np.arange(len(read) + 1, dtype=np.int32) * read.shape[1]
    columns["read"] = pa.ListArray.from_arrays(offsets, read.flatten().numpy())
    return pa.RecordBatch.from_pydict(columns, schema=READS.schema())


def attack_rows(split: str, condition: Condition, clean: Condition, correct_8bit: Tensor) -> pa.RecordBatch:
    """Rows of attacks.parquet; `correct_8bit`, shape (B,), refers to images rounded to 8 bits."""
    delta = condition.batch.image - clean.batch.image
    columns = _columns(split, condition, clean)
    columns["success_8bit"] = success(correct_8bit, clean.correct)
    columns |= {norm: size(delta, norm).float().cpu().numpy() for norm in ("linf", "l2")}
    schema = ATTACKS.schema()
    return pa.RecordBatch.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def _columns(split: str, condition: Condition, clean: Condition) -> dict[str, Any]:
    count = len(condition.correct)
    return {
        "sample": condition.batch.sample.cpu().numpy(),
        "split": repeated(split, count),
        "group": condition.batch.group.cpu().numpy(),
        "attack": repeated(condition.attack, count),
        "eps": [condition.eps] * count,
        "correct": condition.correct.numpy(),
        "success": pa.nulls(count, pa.bool_()) if condition is clean else success(condition.correct, clean.correct),
    }
