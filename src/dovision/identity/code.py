"""Identity of code: one integer for this package; for each other one that components run, a hash of its files."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dovision.config.sources import leaves
from dovision.identity.relevance import content_hash
from dovision.io import files

MEASUREMENT = 1  # raised by hand when numbers of a run or of a fit change; tests/identity/golden.json holds it to that
PACKAGE = "dovision"
_FOLDER = Path(__file__).parents[1]
_PLUMBING = (  # packages that change no number, or hold what another one has read; torch is part of each key
    *("torch", "torchmetrics", "pytorch_lightning", "lightning", "hydra", "omegaconf", "yaml"),
    *("huggingface_hub", "numpy", "pandas", "pyarrow", "PIL"),
)
_READERS = {".dcm": "pydicom", ".dicom": "pydicom", "": "pydicom", ".nii": "nibabel", ".gz": "nibabel"}  # by suffix
_BYPRODUCTS = (".pyc", ".log", ".out", ".tmp")  # files of a package that it does not read


def software() -> dict[str, Any]:
    """The number of the measurement, and the version of torch."""
    return {"measurement": MEASUREMENT, "torch": version("torch")}


def reading_libraries(suffixes: Iterable[str]) -> dict[str, str]:
    """Versions and hashes of the libraries that read images from files with these suffixes."""
    packages = {_READERS.get(suffix.lower(), "PIL") for suffix in suffixes}
    return {package: package_state(package) for package in sorted(packages)}


def third_party_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Versions and hashes of the outside code that components run, by the name of the package.

    These are the packages of the targets, the libraries that a target outside this package lists in its attribute
    `libraries`, those that the module of a target inside this package imports, and, of packages that are not installed,
    all such packages that they import in turn. A value that a component reads from `os.environ` is not seen.

    Args:
        config: a configuration with `_target_`, in plain types.
    """
    targets = {str(value) for key, value in leaves(config) if key.rpartition(".")[2] == "_target_"}
    seen, due = set[str](), {package for target in targets for package in _of_target(target)}
    covered = set[Path]()
    while due := due - seen - {PACKAGE, *_PLUMBING, *sys.stdlib_module_names}:
        seen |= due
        covered |= {path for package in due for path in _uninstalled_files(package).values()}
        modules = [path for path in covered if path.suffix == ".py"]
        imported = {name for path in modules for name in _imports(path)}
        due = {name for name in imported if not covered.issuperset(_uninstalled_files(name).values())}
        due |= {name for path in modules for name in _listed(path, "libraries")}
    return {package: package_state(package) for package in sorted(seen)}


@functools.cache
def package_state(package: str) -> str:
    """Version of an installed package with a hash of its files, a hash of another package's files, or "missing"."""
    if paths := _uninstalled_files(package):
        return content_hash({name: files.sha256(path) for name, path in paths.items()})
    texts = {installed: installed.read_text("RECORD") or "" for installed in distributions()}
    files_of = {installed: text for installed, text in texts.items() if f"\n{package}/__init__.py," in f"\n{text}"}
    states = sorted(f"{installed.version} {_digest(text)}" for installed, text in files_of.items())
    origin = getattr(_spec(package), "origin", None)
    return ", ".join(states) or (files.sha256(Path(origin))[:12] if origin else "missing")


def _digest(record: str) -> str:
    """Hash of the files in a distribution's RECORD, without those that depend on the installer."""
    lines = [line for line in record.splitlines() if "sha256=" in line and ".dist-info/" not in line]
    return content_hash({"files": sorted(lines)})


def _of_target(target: str) -> set[str]:
    """Packages that a component of this name runs; nothing is imported for it, since nobody may trust it."""
    package, *inside = target.split(".")
    folders = getattr(_spec(package), "submodule_search_locations", None) or []
    path = Path(folders[0]).joinpath(*inside[:-1]).with_suffix(".py") if folders and inside else Path()
    if package == PACKAGE:
        return set(_imports(path)) if path.is_file() else set()
    return {package, *(_listed(path, "libraries") if path.is_file() else ())}


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    """Packages that a file imports, by statements and `checks.import_extra`."""
    names = set[str]()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_extra":
            names |= {str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)}
    return frozenset(name.partition(".")[0] for name in names)


def _listed(path: Path, name: str) -> list[str]:
    """Texts of the tuples or lists that a file gives this name, in a module or in a class."""
    values = [
        node.value
        for node in ast.walk(_parsed(path))
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and name in ast.unparse(node).partition("=")[0].split(":")[0]
    ]
    constants = [item for value in values if isinstance(value, (ast.Tuple, ast.List)) for item in value.elts]
    return [item.value for item in constants if isinstance(item, ast.Constant) and isinstance(item.value, str)]


@functools.cache
def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(files.read_bytes(path, files.TEXT))
    except (SyntaxError, ValueError):  # it cannot be imported either
        return ast.Module([], [])


@functools.cache
def _uninstalled_files(package: str) -> Mapping[str, Path]:
    """Files of a package that is not installed, by path; of a lone module, those of its folder and its data files.

    A module's folder counts with its modules alone, and with the files that the module lists as `files`.
    """
    spec = _spec(package)
    if spec is None or not {"site-packages", "dist-packages"}.isdisjoint(Path(str(spec.origin)).parts):
        return {}
    if spec.submodule_search_locations is None:
        modules = sorted(Path(str(spec.origin)).parent.glob("*.py"))
        listed = [path.parent / name for path in modules for name in _listed(path, "files")]
        return {path.name: path for path in (*modules, *listed) if path.is_file()}
    paths = {path.relative_to(top).as_posix(): path for top in spec.submodule_search_locations for path in _below(top)}
    return {name: path for name, path in sorted(paths.items()) if path.suffix not in _BYPRODUCTS}


def _below(folder: str) -> Iterator[Path]:
    for name in Path(folder).rglob("*"):
        if name.is_file() and not any(word.startswith(".") for word in name.relative_to(folder).as_posix().split("/")):
            yield name


def _spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # such as that of a module without a spec
        return None
