"""Questions as the page of dovision-view sends them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import yaml

import dovision as dv
from dovision.io.text_files import write_json
from dovision.store.map_tables import MAPS_FILE, maps_schema
from dovision.store.run_files import digests
from dovision.store.schemas import DIGESTS, with_digest
from dovision.store.tables import TableWriter
from dovision.types import Mask


def packed_mask(mask: Mask) -> str:
    """A region, shape (H, W), as the page sends it: lengths of runs of pixels outside, inside, outside, ..."""
    pixels = [False, *np.asarray(mask, bool).ravel().tolist()]
    runs = [len(list(group)) for _, group in itertools.groupby(pixels)]
    return " ".join(map(str, [runs[0] - 1, *runs[1:]]))


def write_study(
    folder: Path, network: Any, samples: int = 3, cells: Sequence[float] = (0, 1, 0, -0.5), **changes: Any
) -> Path:
    """A study's file and its run, with two maps of 2 x 2 cells of each digit, and the unit "corner"."""
    (run := folder / "run").mkdir(parents=True, exist_ok=True)
    schema = maps_schema(2, 2, 8, 8, 1, "a")
    base = {"group": 0, "class": "1", "variant": "as is", "correct": True, "state": "ok", "spread": None}
    rows = [
        base | {"sample": sample, "explainer": name, "cells": shown, "deletion": None, "insertion": None}
        for sample in range(samples)
        for name, shown in (("a", list(cells)), ("b", [1.0, 0.0, 0.0, 0.0]))
    ]
    with TableWriter(run / MAPS_FILE, schema) as table:
        table.write(pa.RecordBatch.from_pylist(rows, schema=schema))
    facts = {"state": "completed", "dataset_fingerprint": network.images.fingerprint, DIGESTS: digests(run)}
    write_json(run / "run.json", with_digest(facts))
    pairs = [{"run": str(run), "show": ["map:a", "map:b"], "samples": samples}]
    pairs += [{"run": str(run), "show": ["image", "do:corner"], "samples": [0, 2]}]
    (file := folder / "study.yaml").write_text(yaml.safe_dump({"seed": 1, "pairs": pairs} | changes))
    return file


def with_corner(network: Any) -> Any:
    """The network, opened as of a run whose intervention paints the unit "corner" grey."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :4] = True
    intervention = SimpleNamespace(make=lambda: dv.Brush({"corner": mask}, dv.Constant(0.5)))
    settings = SimpleNamespace(seed=0, intervention=intervention, output_root=Path("outputs"))
    return dataclasses.replace(network, settings=settings)
