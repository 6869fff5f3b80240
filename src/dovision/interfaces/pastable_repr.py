"""The base of components: arguments are checked by their annotations, and repr is the call that makes the object."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch import Tensor

from dovision import checks


class PastableRepr:
    """Check arguments by the annotations of `__init__`, and give objects the `repr` of the call that makes them.

    Example:
        >>> import dovision as dv
        >>> dv.FGSM(eps="8/255")
        FGSM(eps='8/255')
        >>> dv.PixelGrid(7, 7, fill=dv.Constant(0.5))
        PixelGrid(rows=7, columns=7, fill=Constant(value=0.5))
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __new__(cls, *positional: Any, **keywords: Any) -> Any:
        checks.arguments(cls.__init__, (None, *positional), keywords)
        self = super().__new__(cls)
        self.__dict__["_arguments"] = positional, keywords
        return self

    def __init__(self) -> None:
        super().__init__()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" not in vars(cls):  # Python 3.10 takes an inherited __new__ for the signature of such a class
            cls.__init__ = cls.__init__  # type: ignore[method-assign]

    def replaced(self, **named: Any) -> Any:
        """Make the object again with other arguments, by name."""
        positional, keywords = self._arguments
        return type(self)(*positional, **{**keywords, **named})

    def __repr__(self) -> str:
        positional, named = self._arguments
        try:
            given = inspect.signature(type(self)).bind_partial(*positional, **named).arguments
        except TypeError:  # a copy of what had no arguments
            given = {}
        return f"{type(self).__name__}({', '.join(f'{name}={_written(value)}' for name, value in given.items())})"


def _written(value: object) -> str:
    if isinstance(value, Tensor):
        return f"<tensor of shape {tuple(value.shape)}>"
    if isinstance(value, functools.partial) and not value.args and not value.keywords:  # as a loss
        value = value.func
    return value.__name__ if inspect.isfunction(value) else repr(value)
