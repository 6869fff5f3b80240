"""Features that a detector read of each image in each condition: one table a detector, to fit it and to score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision.store.tables import METADATA, NAME, row_groups

READS = "reads"  # the folder of the tables, in the run directory
READS_ROW_GROUP = 4096  # rows, each of up to some thousand numbers


class Reads(NamedTuple):
    """Rows of a table: their facts, and what was read."""

    facts: pd.DataFrame  # split, sample, group, attack, eps, correct, success
    read: Tensor  # (N, F) float32

    def chosen(self, rows: pd.Series[bool]) -> Tensor:
        """The features of some of the images."""
        return self.read[torch.tensor(rows.to_numpy(bool))]


def reads_path(folder: Path, detector: str) -> Path:
    """Path of the table of the features that a detector read."""
    return folder / READS / f"{detector}.parquet"


def reads_schema() -> pa.Schema:
    """A row per (split, sample, condition).

    sample, split, group    the row in the split, "val" or "test", the patient
    attack, eps             "clean" or the attack's name, and the epsilon in pixel units, 0 for clean
    correct                 the label, or each of the labels, was predicted in this condition
    success                 right when clean and wrong in this condition; null for clean and for images wrong when clean
    read                    what the detector's score is a function of
    """
    fields = {"sample": pa.int64(), "split": NAME, "group": pa.int64(), "attack": NAME, "eps": pa.float64()}
    fields |= {"correct": pa.bool_(), "success": pa.bool_(), "read": pa.list_(pa.float32())}
    return pa.schema(fields, metadata=METADATA)


def read_reads(folder: Path, detector: str) -> Iterator[Reads]:
    """The table, some thousand rows at a time.

    Raises:
        FileNotFoundError, ValueError: the table is missing, damaged or of another format.
    """
    for table in row_groups(reads_path(folder, detector)):
        read = table["read"].combine_chunks()
        values = torch.from_numpy(np.array(read.values.to_numpy(zero_copy_only=False))).reshape(len(table), -1)
        facts = table.drop_columns(["read"]).to_pandas()
        yield Reads(facts.astype({"split": str, "attack": str}), values)
