"""Differences in origin among completed runs, in words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dovision.identity.dependencies import CHECKPOINTS, DATA

_FEW = 3  # runs that are named
# Sections of the configuration that change no data and no fit, and words of a command.
_OF_MEASUREMENT = (
    *("intervention", "attack", "explainer", "explanation", "detector", "detection", "evaluation", "refute", "fill"),
    *("logger", "name", "output_root", "rerun", "threads", "tags", "note"),
)


def mixed(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences on origins that completed runs should share but do not; empty if their numbers are comparable.

    All should be of the same measurement, torch and packages; those whose overrides differ in what is measured
    alone, of the same data and weights.

    Args:
        runs: by name, the run.json of each completed run.
    """
    origins: dict[tuple[str, Sequence[str]], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, record in runs.items():
        for what, question, origin in _origins(record):
            origins[what, question][origin].append(name)
    return [
        f"These runs differ in the {what}, which their settings do not say, and cannot be compared "
        f"({'; '.join(f'{origin}: {_named(names)}' for origin, names in several.items())}). "
        "The same command measures again what is not of the present origin."
        for (what, _), several in origins.items()
        if len(several) > 1
    ]


def _origins(record: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Iterate over a run's dependencies: sort, overrides of the runs that should share it, and value."""
    overrides = {word: re.split(r"[.@=]", word.lstrip("+~"))[0] for word in record.get("overrides", ())}
    of_fits = tuple(word for word, section in overrides.items() if section not in _OF_MEASUREMENT)
    yield "measurement", (), str(record.get("measurement"))
    yield "torch", (), str(record.get("torch"))
    yield "data", of_fits, str(record.get(DATA))[:12]
    for name, weights in record.get(CHECKPOINTS, {}).items():
        yield f"weights of the {name}", of_fits, str(weights)
    for package, state in record.get("components", {}).items():
        yield f"code of {package}", (), state
    for setting, content in record.get("files", {}).items():
        yield f"content of {setting}", (*overrides,), content[:12]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
