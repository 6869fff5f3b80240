"""Differences between plans in words: of a completed run and the one that is asked for, and among completed runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dovision.identity.plans import CLASSIFIER, Digest, NetworkKey, Plan

_FEW = 3  # runs that are named


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
        if name == "code" and before.modules not in (None, now.modules):  # of which it is a hash
            earlier, value = before.modules, now.modules
        unlike += _changed(name, earlier, value) if earlier != value else []
    networks = [(network, now.network_keys.get(name)) for name, network in before.network_keys.items()]
    networks = [pair for pair in networks if not unlike or (pair[1] is not None and pair[1].weights)]
    return unlike + [sentence for earlier, network in networks if (sentence := _other_weights(earlier, network))]


def mixed(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences on origins that completed runs should share but do not; empty if their numbers are comparable.

    All should be of the same code and torch; those that are configured alike, of the same data and weights.

    Args:
        runs: by name, the run.json of each completed run.
    """
    origins: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, record in runs.items():
        for what, question, origin in _origins(Plan.recorded(Path(), record)) if record.get("questions") else ():
            origins[what, question][origin].append(name)
    sentences = {}
    for (what, _), several in origins.items():
        if len(several) > 1:  # of several modules that set the same runs apart, one is named
            sentences[what, tuple(map(tuple, several.values()))] = (
                f"These runs differ in the {what}, which their settings do not say, and cannot be compared "
                f"({'; '.join(f'{origin}: {_named(names)}' for origin, names in several.items())}). "
                "The same command measures again what is not of the present origin."
            )
    return list(sentences.values())


def _origins(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Iterate over a run's dependencies: sort, key of the runs that should share it, and value."""
    questions, surroundings = plan.questions or {}, plan.surroundings
    yield "code", "", surroundings["code"] if plan.modules is None else "recorded by module"
    for module, state in (plan.modules or {}).items():
        yield "code", module, state
    yield "torch", "", surroundings["torch"]
    yield "data", questions["data"], plan.data_key[:12]
    for name, network in plan.network_keys.items():
        yield f"weights of the {name.replace('_', ' ')}", questions[name], str(network.weights)
    for package, state in (surroundings["components"] or {}).items():
        yield f"code of {package}", "", state
    for setting, content in (surroundings["files"] or {}).items():
        yield f"content of {setting}", questions.get(setting, ""), content[:12]


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
