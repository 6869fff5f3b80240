"""The models that a checkpoint may name: a closed list, made from the package's yamls."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

from dovision import checks, models
from dovision.config.component_names import package_targets
from dovision.config.import_target import import_target
from dovision.functional import outputs

READINGS = frozenset(  # of what networks return, that an argument of a model may be
    f"{outputs.__name__}.{reading.__name__}" for reading in (outputs.BoxScore, outputs.ClassShare, outputs.MeanLogit)
)


def factories() -> frozenset[str]:
    """Full names of the factories of classifiers and autoencoders that the package's yamls name."""
    return frozenset(name for name in package_targets() if name.startswith(f"{models.__name__}."))


def build(settings: Mapping[str, Any], trusted: bool = False) -> Any:
    """Make the classifier or autoencoder that a checkpoint names.

    Args:
        settings: `_target_`, the full name of one of `factories`, and its arguments, of plain types, of which one may
            be of READINGS likewise; with `_partial_` it is the function with its arguments.
        trusted: let it name any importable function or class, which runs code: only for trusted files.

    Raises:
        ValueError: the target is none of them, cannot be imported, or refuses its arguments.
    """
    return _made(settings, "models", None if trusted else factories())


def _made(settings: Mapping[str, Any], what: str, legal: Collection[str] | None) -> Any:
    """Call the target of settings, one of the `legal` names (None: any), after making arguments with targets."""
    target = str(settings.get("_target_"))
    if legal is not None and target not in legal:
        raise ValueError(
            f"it names {target}, which is not one of dovision's {what}.{checks.suggestion(target, legal)} "
            "If you trust the file and the code that it names, say so: trust_checkpoint=true."
        )
    try:
        factory = import_target(target)
    except ImportError as error:
        raise ValueError(f"it names {target}, which cannot be imported: {error}") from error
    arguments = {name: value for name, value in settings.items() if name not in ("_target_", "_partial_")}
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            arguments[name] = _made(value, "readings of outputs", None if legal is None else READINGS)
    if settings.get("_partial_"):
        return functools.partial(factory, **arguments)
    try:
        return factory(**arguments)
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise ValueError(f"{target} refuses its arguments: {error}") from error
