"""Docstrings of the public API: every name of dovision and every public method, arguments named, an example that runs.

python checks/docstrings.py            prints what is missing, and exits with 1 if anything is
"""

from __future__ import annotations

import argparse
import doctest
import inspect
import re
import sys
from collections.abc import Iterator

import dovision

PASSED_ON = ("self", "cls", "args", "kwargs")


def public() -> dict[str, object]:
    """The public classes and functions of dovision by name."""
    found = {name: getattr(dovision, name) for name in dovision._homes()}
    return {name: each for name, each in found.items() if callable(each)}


def missing(name: str) -> Iterator[str]:
    """What the docstrings of a public name lack: `NAME: what`."""
    found = public()[name]
    if not found.__doc__:
        yield f"{name}: a docstring"
    if ">>>" not in (found.__doc__ or ""):
        yield f"{name}: an example"
    for argument in arguments(found):
        if not re.search(rf"\b{argument}\b", documented(found)):
            yield f"{name}: the argument {argument}"
    if arguments(found) and "Args:" not in documented(found) and not hasattr(found, "_fields"):
        yield f"{name}: Args"
    for method, own in methods(found):
        if not inspect.getdoc(own):
            yield f"{name}.{method}: a docstring"


def arguments(found: object) -> list[str]:
    """Names of what a class or function is called with."""
    try:
        return [name for name in inspect.signature(found).parameters if name not in PASSED_ON]  # type: ignore[arg-type]
    except ValueError:
        return []


def documented(found: object) -> str:
    """The docstring of a function, or of a class with those of its bases in dovision, and its fields' comments."""
    if not inspect.isclass(found):
        return inspect.getdoc(found) or ""
    own = [base for base in found.__mro__ if base.__module__.startswith("dovision.")]
    fields = inspect.getsource(found) if hasattr(found, "_fields") or hasattr(found, "__dataclass_fields__") else ""
    return "\n".join([*(base.__doc__ or "" for base in own), fields])


def methods(found: object) -> Iterator[tuple[str, object]]:
    """Public methods and properties of a class that are defined in dovision, by name."""
    for base in getattr(found, "__mro__", ()):
        if base.__module__.startswith("dovision."):
            for name, own in vars(base).items():
                if name in getattr(found, "__dataclass_fields__", ()):
                    continue  # a default, which may be a function
                if not name.startswith("_") and (inspect.isfunction(own) or isinstance(own, (property, classmethod))):
                    yield name, getattr(found, name) if inspect.isfunction(own) else own


def failures(name: str) -> str:
    """What the examples of a public name print instead of what they should; empty if they run as shown, with `dv`."""
    printed: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for each in doctest.DocTestFinder(recurse=False).find(public()[name], name, globs={"dv": dovision}):
        runner.run(each, out=printed.append)
    return "".join(printed)


def main() -> None:
    """Print what is missing, and the number of it."""
    parser = argparse.ArgumentParser(description="Docstrings of the public API.")
    parser.add_argument("--quick", action="store_true", help="leave the examples out")
    quick = parser.parse_args().quick
    lacks = [lack for name in public() for lack in missing(name)]
    broken = {} if quick else {name: text for name in public() if (text := failures(name))}
    print(*lacks, *broken.values(), sep="\n")
    print(f"public names: {len(public())}; missing: {len(lacks)}; examples that fail: {len(broken)}")
    sys.exit(bool(lacks or broken))


if __name__ == "__main__":
    main()
