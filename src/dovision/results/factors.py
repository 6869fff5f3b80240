"""Factors of a sweep: the settings in which its jobs differ, without those that follow from others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.results.display_names import setting_name, setting_text, value_text

SEED_KEY = "seed"
NO_FACTORS = ("output_root", "rerun", "threads", "num_workers", "logger", "note")
_GROUPS = ("attack", "autoencoder", "dataset", "intervention", "model")  # of which an override names the component


def factor_values(configs: Sequence[Mapping[str, Any]], overrides: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Table of factors as text: a row per job, a column per dotted name; the seed comes last.

    A setting that was given on the command line is a factor, unless it has the value of another one in every job.
    Any other setting is one only if the factors, besides the seed, do not determine it, as the choice of an attack
    determines its steps. A seed of a part is none if it follows from the seed; anything else that changes with the
    seed is one, so that the jobs are not pooled over their seeds.

    Args:
        configs: of the jobs, nested; empty where it is not known.
        overrides: of the jobs, as typed.
    """
    records = [flattened({key: value for key, value in config.items() if key not in NO_FACTORS}) for config in configs]
    typed = [_typed(settings) for settings in overrides]
    for record, settings in zip(records, typed, strict=True):
        record.update(
            {key: value for key, value in settings.items() if key in (*_GROUPS, SEED_KEY) or key not in record}
        )
    names = dict.fromkeys(key for settings in typed for key in settings)
    _, differing = split(records)
    _, of_known = split([record for record, config in zip(records, configs, strict=True) if config])
    given = [key for key in names if key in differing and key != SEED_KEY]
    columns: dict[str, list[str]] = {}
    for key in given:
        values = [record.get(key, "-") for record in records]
        if values not in columns.values():
            columns[key] = values
    seeded = SEED_KEY in of_known or (SEED_KEY in names and SEED_KEY in differing)
    seeds = {SEED_KEY: [record.get(SEED_KEY, "-") for record in records]} if seeded else {}
    for key in of_known:
        values = [record.get(key, "-") for record in records]
        columns_so_far = [*columns.values(), *(seeds.values() if key.endswith(f".{SEED_KEY}") else ())]
        rows = [tuple(column[number] for column in columns_so_far) for number in range(len(values))]
        determined = len({*zip(rows, values, strict=True)}) == len({*rows})
        if key not in (*given, SEED_KEY) and not determined:
            columns[key] = values
    columns = {key: _grids(key, values, columns, records) for key, values in columns.items()}
    return pd.DataFrame(columns | seeds, index=range(len(records)))


def factor_heads(keys: Sequence[str]) -> dict[str, str]:
    """Display names of factors by key; dotted names where display names coincide."""
    names = [setting_name(key) for key in keys]
    return {key: name if names.count(name) == 1 else key for key, name in zip(keys, names, strict=True)}


def level_texts(values: pd.Series[str]) -> pd.Series[str]:
    """Display texts of a factor's levels; unchanged where texts would coincide."""
    texts = {value: value_text(value) for value in values.unique()}
    return values.map(texts) if len(set(texts.values())) == len(texts) else values


def factor_text(row: pd.Series[str]) -> str:
    """Describe a job's factors, such as "grid 4 x 4, PGD, epsilon 0.1"."""
    return ", ".join(setting_text(str(key), value) for key, value in row.items() if value != "-")


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


def split(records: Sequence[Mapping[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Common settings of all flat records, and the names of the differing ones, in order."""
    names = dict.fromkeys(name for record in records for name in record)
    values = {name: {record.get(name, "") for record in records} for name in names}
    common = {name: next(iter(levels)) for name, levels in values.items() if len(levels) == 1}
    return common, [name for name in names if name not in common]


def natural(text: str) -> list[str | float]:
    """Sort key of text that puts rows=8 before rows=16."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", text)
    return [float(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


def _grids(
    key: str, values: list[str], columns: Mapping[str, object], records: Sequence[Mapping[str, str]]
) -> list[str]:
    """Values of a factor; grids whose columns are not a factor show both numbers."""
    other = f"{key.removesuffix('rows')}columns"
    if not key.endswith(".rows") or other in columns:
        return values
    both = [(value, record.get(other)) for value, record in zip(values, records, strict=True)]
    return [value if across is None else f"{value} x {across}" for value, across in both]


def _typed(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides by dotted name, without those that are not factors or depend on others."""
    values = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        key = key.rpartition("@")[2].replace("/", ".")
        if not key.startswith("hydra") and key.partition(".")[0] not in NO_FACTORS:
            values[key] = value.replace("\\", "")
    return {key: value.strip("'\"[]") for key, value in values.items() if "${" not in value}
