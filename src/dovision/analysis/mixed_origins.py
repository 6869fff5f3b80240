"""Completed runs that should share their code, data or weights, and do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_FEW = 3  # runs that are named
QUESTIONS = "questions"  # in run.json: a hash of what the configuration says of the data, each network, each file


def mixed(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence on each origin that runs should share and do not; none if their numbers may be compared.

    All should be of the same code and torch; those that are configured alike, of the same data and weights.

    Args:
        runs: by name, the run.json of each completed run.
    """
    origins: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, facts in runs.items():
        for what, question, origin in _origins(facts):
            origins[what, question][origin].append(name)
    return [
        f"These runs differ in the {what}, which their settings do not say, and cannot be compared "
        f"({'; '.join(f'{origin}: {_named(names)}' for origin, names in several.items())}). "
        "The same command measures again what is not of the present origin."
        for (what, _), several in origins.items()
        if len(several) > 1
    ]


def _origins(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Dependencies of a run: their kind, which runs should have the same, and the value."""
    questions = facts.get(QUESTIONS)
    if not questions:  # the record of a version that did not ask
        return
    yield "code", "", facts["code"]
    yield "torch", "", facts["versions"]["torch"]
    yield "data", questions["data"], facts["dataset_fingerprint"][:12]
    for network, weights in facts["checkpoints"].items():
        yield f"weights of the {network.replace('_', ' ')}", questions[network], weights
    for package, state in facts.get("components", {}).items():
        yield f"code of {package}", "", state
    for setting, content in facts.get("files", {}).items():
        yield f"content of {setting}", questions.get(setting, ""), content[:12]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
