"""The table of a run that edits the latents of a dictionary: how active each is on each image, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision.store.tables import METADATA, NAME, read_table

ACTIVITY = "activity.parquet"
_LATENT = re.compile(r"[a-z](\d+)")  # the name of a single latent, of whatever kind of unit


def activity_schema() -> pa.Schema:
    """Columns of activity.parquet, a row per clean image and measured latent that is active on it.

    sample, unit            the row in the split, the name of the latent as in effects.parquet
    mean, largest           of the latent over the positions
    rows, columns           of the map
    map                     the latent at each position, row by row
    """
    fields = {"sample": pa.int64(), "unit": NAME, "mean": pa.float32(), "largest": pa.float32()}
    return pa.schema(
        fields | {"rows": pa.int32(), "columns": pa.int32(), "map": pa.list_(pa.float32())}, metadata=METADATA
    )


def activity_columns(sample: Tensor, units: Sequence[str], code: Tensor) -> pa.RecordBatch:
    """Rows of activity.parquet for one batch.

    Args:
        sample: shape (B,).
        units: those of the intervention; sets of latents and controls have no rows.
        code: shape (B, latents), or with positions, (B, latents, H, W).
    """
    single = {int(found[1]): unit for unit in units if (found := _LATENT.fullmatch(unit))}
    maps = code.detach().float().cpu().reshape(*code.shape[:2], *(code.shape[2:] or (1, 1)))[:, list(single)]
    height, width = maps.shape[2:]
    values = maps.flatten(2)
    image, latent = torch.where((values != 0).any(-1))
    active, names = values[image, latent], list(single.values())
    columns = {
        "sample": sample.cpu()[image].numpy(),
        "unit": pa.array([names[each] for each in latent.tolist()], pa.string()).dictionary_encode(),
        "mean": active.mean(-1).numpy(),
        "largest": active.amax(-1).numpy() if len(active) else active.new_zeros(0).numpy(),
        "rows": [height] * len(active),
        "columns": [width] * len(active),
        "map": list(active.numpy()),
    }
    schema = activity_schema()
    return pa.RecordBatch.from_arrays([pa.array(columns[name], type=schema.field(name).type) if name != "unit"
        else columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)  # fmt: skip


def read_activity(folder: Path) -> pd.DataFrame:
    """activity.parquet, with `unit` as text and `map` as arrays, shape (rows * columns,); errors as of `read_table`."""
    return read_table(folder / ACTIVITY).to_pandas().astype({"unit": str})
