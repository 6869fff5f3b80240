"""Differences between runs and what they have in common, setting by setting."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

FlatSettings = Mapping[str, str]


def flattened(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten settings to dotted names with text values; components become class names, empty values are dropped."""
    settings: dict[str, str] = {}
    for name, value in record.items():
        dotted = prefix + str(name)
        if name == "_target_":
            settings[prefix.rstrip(".")] = str(value).rpartition(".")[2]
        elif isinstance(value, Mapping):
            settings |= flattened(value, f"{dotted}.")
        elif value not in ("", [], None):
            settings[dotted] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return settings


def split(records: Sequence[FlatSettings]) -> tuple[dict[str, str], list[str]]:
    """Common settings of all records, and the names of the differing ones, in order."""
    names = dict.fromkeys(name for record in records for name in record)
    values = {name: {record.get(name, "") for record in records} for name in names}
    common = {name: next(iter(levels)) for name, levels in values.items() if len(levels) == 1}
    return common, [name for name in names if name not in common]


def counted(records: Sequence[FlatSettings], name: str) -> dict[str, int]:
    """Number of records by value of a setting; "-" for records without it."""
    counts = Counter(record.get(name) or "-" for record in records)
    return dict(sorted(counts.items(), key=lambda item: natural(item[0])))


def natural(text: str) -> list[str | float]:
    """Sort key of text that puts rows=8 before rows=16."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", text)
    return [float(piece) if index % 2 else piece for index, piece in enumerate(pieces)]
