"""The models that a checkpoint may name: a closed list, made from the files of this folder."""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from torch import nn

from dovision import checks, models
from dovision.config.import_target import import_target
from dovision.functional import outputs

Factory = Callable[..., Any]
READINGS: Mapping[str, Factory] = MappingProxyType(  # of what networks return, that an argument of a model may be
    {
        f"{outputs.__name__}.{reading.__name__}": reading
        for reading in (outputs.BoxScore, outputs.ClassShare, outputs.MeanLogit)
    }
)


@functools.cache
def factories() -> Mapping[str, Factory]:
    """Factories of classifiers and autoencoders by full name: in each module, the one named like its file.

    small_cnn.py has the function small_cnn, conv_autoencoder.py the class ConvAutoencoder; whatever else lies in a
    file, or is imported there, is none.
    """
    factory_by_name: dict[str, Factory] = {}
    for stem in [file.name for file in pkgutil.iter_modules(models.__path__) if not file.name.startswith("_")]:
        module = import_module(f"{models.__name__}.{stem}")
        for name in (stem, stem.title().replace("_", "")):
            factory: Any = vars(module).get(name)
            network = inspect.isclass(factory) and issubclass(factory, nn.Module)
            if (network or inspect.isfunction(factory)) and factory.__module__ == module.__name__:
                factory_by_name[f"{module.__name__}.{name}"] = factory
    return MappingProxyType(factory_by_name)


def build(settings: Mapping[str, Any]) -> Any:
    """Make the classifier or autoencoder that a checkpoint names, from a closed list; nothing else is imported or run.

    Args:
        settings: `_target_`, the full name of one of `factories`, and its arguments, of plain types.

    Raises:
        ValueError: the target is none of them, or refuses its arguments.
    """
    return _call(_listed(factories(), "models"), settings, _listed(READINGS, "readings of outputs"))


def make_any(settings: Mapping[str, Any]) -> Any:
    """Make any importable function or class, which runs code: only for trusted files.

    Raises:
        ValueError: there is no such target, or it refuses its arguments.
    """
    return _call(_imported, settings, _imported)


def _listed(legal: Mapping[str, Factory], what: str) -> Callable[[str], Factory]:
    """Look up a target in the closed list."""

    def find(target: str) -> Factory:
        if target not in legal:
            raise ValueError(
                f"it names {target}, which is not one of dovision's {what}.{checks.suggestion(target, legal)} "
                "If you trust the file and the code that it names, say so: trust_checkpoint=true."
            )
        return legal[target]

    return find


def _imported(target: str) -> Factory:
    try:
        return import_target(target)
    except ImportError as error:
        raise ValueError(f"it names {target}, which cannot be imported: {error}") from error


def _call(find: Callable[[str], Factory], settings: Mapping[str, Any], find_part: Callable[[str], Factory]) -> Any:
    """Call the target of settings, after making arguments with targets of their own.

    Args:
        find: the function that a target names.
        settings: `_target_` and arguments; an argument with `_partial_: true` is the function itself.
        find_part: as `find`, for arguments.
    """
    factory = find(str(settings.get("_target_")))
    arguments = {name: value for name, value in settings.items() if name != "_target_"}
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            arguments[name] = _argument(find_part, value)
    try:
        return factory(**arguments)
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise ValueError(f"{settings['_target_']} refuses its arguments: {error}") from error


def _argument(find: Callable[[str], Factory], settings: Mapping[str, Any]) -> Any:
    """Make an argument with a target; with `_partial_`, the function with its arguments."""
    rest = {name: value for name, value in settings.items() if name != "_partial_"}
    if not settings.get("_partial_"):
        return _call(find, rest, find)
    target = str(rest.pop("_target_"))
    return functools.partial(find(target), **rest)
