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

Factory = Callable[..., Any]


@functools.cache
def factories() -> Mapping[str, Factory]:
    """Factories of classifiers and autoencoders, by full name: of each file the one that is named as the file is.

    small_cnn.py has the function small_cnn, conv_autoencoder.py the class ConvAutoencoder; whatever else lies in a
    file, or is imported there, is none.
    """
    found: dict[str, Factory] = {}
    for file in pkgutil.iter_modules(models.__path__):
        module = import_module(f"{models.__name__}.{file.name}")
        for name in (file.name, file.name.title().replace("_", "")):
            factory: Any = vars(module).get(name)
            network = inspect.isclass(factory) and issubclass(factory, nn.Module)
            if (network or inspect.isfunction(factory)) and factory.__module__ == module.__name__:
                found[f"{module.__name__}.{name}"] = factory
    return MappingProxyType(found)


def build(settings: Mapping[str, Any]) -> Any:
    """The classifier or autoencoder that a checkpoint names; what its arguments hold is never imported or run.

    Args:
        settings: `_target_`, the full name of one of `factories`, and its arguments, of plain types.

    Raises:
        ValueError: the target is none of them, or refuses its arguments.
    """
    target = str(settings.get("_target_"))
    factory = factories().get(target)
    if factory is None:
        raise ValueError(
            f"it names {target}, which is not one of dovision's models.{checks.suggestion(target, factories())} "
            "If you trust the file and the code that it names, say so: trust_checkpoint=true."
        )
    return _call(factory, settings)


def make_any(settings: Mapping[str, Any]) -> Any:
    """The same for any function or class that can be imported, which runs it: for files that the user trusts.

    Raises:
        ValueError: there is no such target, or it refuses its arguments.
    """
    target = str(settings.get("_target_"))
    module, _, name = target.rpartition(".")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"it names {target}, which cannot be imported: {error}.") from error
    return _call(factory, settings)


def _call(factory: Factory, settings: Mapping[str, Any]) -> Any:
    arguments = {name: value for name, value in settings.items() if name != "_target_"}
    try:
        return factory(**arguments)
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise ValueError(f"{settings['_target_']} refuses its arguments: {error}") from error
