"""The table of a run that edits the latents of a dictionary: how active each is on each image, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import torch
from torch import Tensor

from dovision.store.tables import INTEGER, NAME, NUMBER, NUMBERS, RunTable

ACTIVITY = RunTable(
    "activity.parquet",
    "with a dictionary of latents as the code: a row per image and latent that is active on it, with its map",
    keys=("sample", "unit"),
    columns={
        "sample": (INTEGER, "the row in the split, of the clean image"),
        "unit": (NAME, "the name of the latent as in effects.parquet"),
        "mean largest": (NUMBER, "of the latent over the positions"),
        "rows columns": (pa.int32(), "of the map"),
        "map": (NUMBERS, "the latent at each position, row by row"),
    },
)
_LATENT = re.compile(r"[a-z](\d+)")  # the name of a single latent


def activity_columns(sample: Tensor, units: Sequence[str], code: Tensor) -> pa.RecordBatch:
    """Columns of activity.parquet for one batch.

    Args:
        sample: shape (B,).
        units: those of the intervention; sets of latents and controls have no rows.
        code: shape (B, latents), or with positions, (B, latents, H, W).
    """
    single = {int(match[1]): unit for unit in units if (match := _LATENT.fullmatch(unit))}
    maps = code.detach().float().cpu().reshape(*code.shape[:2], *(code.shape[2:] or (1, 1)))[:, list(single)]
    height, width = maps.shape[2:]
    values = maps.flatten(2)
    image, latent = torch.where((values != 0).any(-1))
    active, names = values[image, latent], list(single.values())
    columns = {
        "sample": sample.cpu()[image].numpy(),
        "unit": pa.array([names[number] for number in latent.tolist()], pa.string()).dictionary_encode(),
        "mean": active.mean(-1).numpy(),
        "largest": active.amax(-1).numpy() if len(active) else active.new_zeros(0).numpy(),
        "rows": [height] * len(active),
        "columns": [width] * len(active),
        "map": list(active.numpy()),
    }
    return pa.RecordBatch.from_pydict(columns, schema=ACTIVITY.schema())
