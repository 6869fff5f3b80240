"""Hashes of all code that a run's numbers depend on: of this package, of installed ones, and of a user's modules."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dovision.config.sources import leaves
from dovision.identity.relevance import content_hash
from dovision.io import files

PACKAGE = "dovision"
_FOLDER = Path(__file__).parents[1]
_PLUMBING = ("filelock", "huggingface_hub", "rich", "yaml")  # packages that change no number
_NOT_COMPUTING = ("config", "identity", "runtime", "checks")  # what is in dovision that changes none, either
_READING = (
    "pillow",
    "torchvision",
    "torchxrayvision",
    "datasets",
    "pydicom",
    "nibabel",
)  # by which datasets read files
# Packages of dovision through which no model is fitted.
NOT_IN_A_FIT = (
    *("analysis", "attacks", "cli", "detectors", "evaluation", "explainers", "interventions", "report"),
    *("store", "sweeps", "tracking", "view"),
)
_IN_A_FIT = ("cli/train.py", "metrics/reconstruction.py")  # files of these packages through which one is, all the same

_distributions = functools.cache(packages_distributions)


def software() -> dict[str, str]:
    """The hash of this package's code, and the version of torch."""
    return {"code": code_hash(), "torch": version("torch")}


@functools.cache
def code_hash(without: Collection[str] = ()) -> str:
    """Hash of this package's code, twelve hexadecimal digits, excluding some packages."""
    modules = (path.relative_to(_FOLDER).as_posix() for path in _FOLDER.rglob("*.py"))
    hashed = (path for path in modules if path.partition("/")[0] not in without or path in _IN_A_FIT)
    return content_hash({path: _digits(_FOLDER / path) for path in hashed})


def fitting_code_hash(attacks: bool = False) -> str:
    """Hash, twelve hexadecimal digits, of the code that fits models, including datasets and networks.

    Args:
        attacks: whether that of attacks is included, too, as adversarial training runs it.
    """
    return code_hash(tuple(name for name in NOT_IN_A_FIT if not (attacks and name == "attacks")))


def reading_libraries() -> dict[str, str]:
    """Versions of the installed libraries by which datasets read files."""
    versions = {}
    for name in _READING:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def third_party_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Identity of outside code that components run: its version if installed, otherwise a hash of its files.

    The imports of the components' modules are read, and of all that these import in turn, in this package and in those
    that are not installed. Nothing is run, and a name that is computed is not seen.

    Args:
        config: a configuration with `_target_`, in plain types.

    Returns:
        By the name of the package, as it is imported.
    """
    targets = {str(value) for key, value in leaves(config) if key.rpartition(".")[2] == "_target_"}
    due = {target for target in targets if target.partition(".")[0] not in sys.stdlib_module_names}
    seen: set[str] = set()
    while due := due - seen:
        seen |= due
        due = {name for module in due for name in _imports(module)}
    packages = {name.partition(".")[0] for name in seen} - {PACKAGE, *_PLUMBING}
    return {package: _package_state(package) for package in sorted(packages)}


def _digits(path: Path) -> str:
    return files.sha256(path)[:12]


@functools.cache
def _imports(name: str) -> frozenset[str]:
    """Full names that a module imports, outside installed packages.

    Args:
        name: of the module or of what is defined in it; of another package all modules count.
    """
    top, *inside = name.split(".")
    if top == PACKAGE:
        path = _FOLDER.joinpath(*inside)
        if inside[:1] and inside[0] in _NOT_COMPUTING:
            return frozenset()
        stems = [stem for stem in (path, path.parent) if stem.name != PACKAGE]
        modules = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    else:
        modules = list(_uninstalled_files(top).values())
    names = {name for file in modules if file.suffix == ".py" and file.is_file() for name in _imports_of(file, top)}
    return frozenset(name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)


def _imports_of(file: Path, package: str) -> Iterator[str]:
    """Full names that a file imports, by statements and by `checks.import_extra`."""
    try:
        nodes = ast.walk(ast.parse(files.read_bytes(file, files.TEXT)))
    except (SyntaxError, ValueError):  # it cannot be imported either
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" if not node.level else package for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_extra":
            yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


@functools.cache
def _package_state(name: str) -> str:
    """Version of an installed package, hash of another one's files, or "missing"."""
    if modules := _uninstalled_files(name):
        return content_hash({name: _digits(path) for name, path in modules.items()})
    for distribution in _distributions().get(name, ()):
        return version(distribution)
    origin = getattr(_spec(name), "origin", None)
    return _digits(Path(origin)) if origin else "missing"  # which the component's own error reports


def _uninstalled_files(package: str) -> dict[str, Path]:
    """Modules of a package that is not installed, by path."""
    spec = _spec(package)
    if spec is None or not {"site-packages", "dist-packages"}.isdisjoint(Path(str(spec.origin)).parts):
        return {}
    if spec.submodule_search_locations is None:
        return {package: Path(str(spec.origin))}
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}


def _spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # such as that of a module without a spec
        return None
