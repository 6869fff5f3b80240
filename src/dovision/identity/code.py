"""Hashes of all code that a run's numbers depend on: of this package, of installed ones, and of a user's modules."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dovision.config.sources import leaves
from dovision.identity.digests import read_sealed_cache, write_sealed_cache
from dovision.identity.relevance import content_hash
from dovision.io import files

PACKAGE = "dovision"
PARSED_FILE = ".modules.json"  # in the output root
_FOLDER = Path(__file__).parents[1]
_PLUMBING = ("filelock", "huggingface_hub", "rich", "yaml")  # packages that change no number
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NOT_COMPUTING = ("cli", "config", "identity", "runtime", "checks")  # parts of dovision that import nothing that does
_READING = ("pillow", "torchvision", "torchxrayvision", "datasets", "pydicom", "nibabel")  # by which files are read
# What changes numbers of these: fractions are read by checks, and seeds are set by runtime.
_COMPUTING = ("checks", "cli.", "identity.samples", "runtime.forks", "runtime.process_state")
OF_FITS = (  # modules from which a fit is followed, besides those of its components
    *("cli.train", "training.fitting", "training.checkpointing", "training.data_module"),
    *("training.foreign", "runtime.process_state"),
)
OF_RUNS = (  # the same of a run, whose checkpoints may name any of the models
    *("cli.evaluate", "evaluation.callbacks", "analysis.summary", "identity.samples", "runtime.process_state"),
    *(f"models.{path.stem}" for path in sorted(_FOLDER.glob("models/*.py"))),
)

_PARSED: dict[str, list[str]] = {}  # of a file: a hash of its bytes and of the parser, and what `_module` returns
_NEWLY_PARSED: dict[str, list[str]] = {}  # the same, of those that were parsed since the last were written
_distributions = functools.cache(packages_distributions)


def read_parsed(output_root: Path) -> None:
    """Read what other commands have parsed and written to an output root."""
    _PARSED.update(read_sealed_cache(output_root / PARSED_FILE))


def write_parsed(output_root: Path) -> None:
    """Write what was newly parsed for later commands of an output root, beside what others have written there."""
    if _NEWLY_PARSED:
        with suppress(OSError):  # such as that of a folder that is only read
            write_sealed_cache(
                output_root / PARSED_FILE, {**read_sealed_cache(output_root / PARSED_FILE), **_NEWLY_PARSED}
            )
            _NEWLY_PARSED.clear()


def software() -> dict[str, str]:
    """The hash of this package's code, and the version of torch."""
    return {"code": code_hash(), "torch": version("torch")}


@functools.cache
def code_hash() -> str:
    """Hash of all modules of this package, twelve hexadecimal digits."""
    return content_hash({path.relative_to(_FOLDER).as_posix(): _digits(path) for path in _FOLDER.rglob("*.py")})


def modules(config: Mapping[str, Any], roots: Iterable[str]) -> dict[str, str]:
    """Digests of this package's modules that a job runs, by path; comments, docstrings and layout change none.

    It begins with those of its components and with `roots`, OF_FITS or OF_RUNS.
    """
    reached = _reached({*_targets(config), *(f"{PACKAGE}.{name}" for name in roots)})
    files = {file for name in reached if name.partition(".")[0] == PACKAGE for file in _files(name)}
    return {file.relative_to(_FOLDER).as_posix(): _module(file, PACKAGE)[1] for file in sorted(files)}


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
    packages = {name.partition(".")[0] for name in _reached(_targets(config))} - {PACKAGE, *_PLUMBING}
    return {package: _package_state(package) for package in sorted(packages)}


def _targets(config: Mapping[str, Any]) -> set[str]:
    targets = {str(value) for key, value in leaves(config) if key.rpartition(".")[2] == "_target_"}
    return {target for target in targets if target.partition(".")[0] not in sys.stdlib_module_names}


def _reached(due: set[str]) -> set[str]:
    """These names, and all that their modules import, in turn."""
    seen: set[str] = set()
    while due := due - seen:
        seen |= due
        due = {name for module in due for name in _imports(module)}
    return seen


def _digits(path: Path) -> str:
    return files.sha256(path)[:12]


@functools.cache
def _imports(name: str) -> frozenset[str]:
    """Full names that a module imports, outside installed packages.

    Args:
        name: of the module or of what is defined in it; of another package all modules count.
    """
    top, *inside = name.split(".")
    if top == PACKAGE and inside[:1] and inside[0] in _NOT_COMPUTING:
        return frozenset()
    names = {name for file in _files(name) for name in _module(file, top)[0]}
    return frozenset(name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)


@functools.cache
def _files(name: str) -> tuple[Path, ...]:
    """Files of the module that a name is of, and those of the packages around it which may be meant by it."""
    top, *inside = name.split(".")
    if top != PACKAGE:
        return tuple(file for file in _uninstalled_files(top).values() if file.suffix == ".py")
    if inside[:1] and inside[0] in _NOT_COMPUTING and not ".".join(inside).startswith(_COMPUTING):
        return ()
    path = _FOLDER.joinpath(*inside)
    stems = [stem for stem in (path, path.parent) if stem.name != PACKAGE]
    paths = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return tuple(file for file in paths if file.is_file())


@functools.cache
def _module(file: Path, package: str) -> tuple[frozenset[str], str]:
    """Full names that a file imports, by statements and `checks.import_extra`, and a digest of its statements."""
    content = files.read_bytes(file, files.TEXT)
    state = content_hash({"of": [sys.version, _digits(Path(__file__)), package, sha256(content).hexdigest()]})
    if _PARSED.get(str(file), [""])[0] != state:
        names, digest = _parsed(content, package)
        _PARSED[str(file)] = _NEWLY_PARSED[str(file)] = [state, digest, *sorted(names)]
    _, digest, *imported = _PARSED[str(file)]
    return frozenset(imported), digest


def _parsed(content: bytes, package: str) -> tuple[set[str], str]:
    names = set[str]()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # it cannot be imported either
        return names, sha256(content).hexdigest()[:12]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" if not node.level else package for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_extra":
            names |= {str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)}
        elif isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return names, content_hash({"statements": ast.unparse(tree)})


@functools.cache
def _package_state(name: str) -> str:
    """Version of an installed package, hash of another one's files, or "missing"."""
    if files_of := _uninstalled_files(name):
        return content_hash({name: _module(path, name)[1] for name, path in files_of.items()})
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
