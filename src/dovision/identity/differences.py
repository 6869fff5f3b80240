"""Differences between plans in words: of a completed run and the one that is asked for, and among completed runs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dovision.identity.plans import CHECKPOINTS, CLASSIFIER, DATA, Digest, NetworkKey, Plan

_FEW = 3  # runs that are named
# Sections of the configuration that change no data and no fit, and words of a command.
_OF_MEASUREMENT = (
    *("intervention", "attack", "explainer", "explanation", "detector", "detection", "evaluation", "refute", "fill"),
    *("reported", "logger", "name", "output_root", "rerun", "threads", "tags", "note"),
)


def differences(before: Plan, now: Plan, digest: Digest) -> list[str]:
    """Differences between a completed run and the current plan; empty if the run matches it.

    Weights that are not there are named only if all else is equal, since code and settings shape them. A network whose
    checkpoint is gone is the same if all that shapes its fit is.
    """
    classifier, earlier_classifier = now.network_keys[CLASSIFIER], before.network_keys[CLASSIFIER]
    if classifier.weights is None and earlier_classifier.weights and _is_same_fit(earlier_classifier, classifier):
        now = now.with_weights(CLASSIFIER, earlier_classifier.weights, digest)  # by which its autoencoder is found
    if before.rows_key == now.rows_key:
        return []
    unlike = []
    for name, value in {**now.surroundings, "data": now.data_key[:12]}.items():
        earlier: Any = before.data_key[:12] if name == "data" else before.surroundings.get(name)
        unlike += _changed(name, earlier, value) if earlier != value else []
    networks = [(network, now.network_keys.get(name)) for name, network in before.network_keys.items()]
    networks = [pair for pair in networks if not unlike or (pair[1] is not None and pair[1].weights)]
    return unlike + [sentence for earlier, network in networks if (sentence := _other_weights(earlier, network))]


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


def _other_weights(before: NetworkKey, now: NetworkKey | None) -> str:
    """Difference of a network; empty if none."""
    what = f"weights of the {before.name.replace('_', ' ')}"
    if now is not None and now.weights is not None:
        return (
            "" if now.weights == before.weights else f"{_changed(what, before.weights, now.weights)[0]} in {now.path}"
        )
    return "" if now is not None and _is_same_fit(before, now) else f"other {what}"


def _is_same_fit(before: NetworkKey, now: NetworkKey) -> bool:
    return now.path.parent.name == before.path.parent.name


def _changed(name: str, before: object, now: object) -> list[str]:
    """Sentences on a difference; of mappings, one for each key that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        unlike = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return [f"other {name}: {key} ({before.get(key)}, now {now.get(key)})" for key in unlike]
    return [f"other {name} ({before}, now {now})"]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
