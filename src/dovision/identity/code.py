"""Identity of code: one integer for this package; for each other one that components run, a hash of its files."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec
from importlib.metadata import distributions, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dovision.config.component_names import component_homes
from dovision.config.sources import leaves
from dovision.identity.relevance import content_hash
from dovision.io import files

MEASUREMENT = 2  # raised by hand when numbers of a run or of a fit change; tests/identity/golden.json holds it to that
PACKAGE = "dovision"
_PLUMBING = {  # packages that change no number, or hold what another one has read; torch is part of each key
    *(PACKAGE, "torch", "torchmetrics", "pytorch_lightning", "lightning", "hydra", "omegaconf", "yaml"),
    *("huggingface_hub", "numpy", "pandas", "pyarrow", "PIL", *sys.stdlib_module_names),
}
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
    while due := due - seen - _PLUMBING:
        seen |= due
        covered |= {path for package in due for path in _uninstalled_files(package).values()}
        modules = [path for path in covered if path.suffix == ".py"]
        imported = {name for path in modules for name in _imports(path)} - _PLUMBING  # else they are looked for
        due = {name for name in imported if not covered.issuperset(_uninstalled_files(name).values())}
        due |= {name for path in modules for name in _listed(path, "libraries")}
    return {package: package_state(package) for package in sorted(seen)}


@functools.cache
def package_state(package: str) -> str:
    """Version of an installed package with a hash of its files, a hash of another package's files, or "missing"."""
    if paths := _uninstalled_files(package):
        return content_hash({name: files.sha256(path) for name, path in paths.items()})
    states = []
    for installed in distributions():
        record = (installed.read_text("RECORD") or "").splitlines()
        if any(line.startswith(f"{package}/__init__.py,") for line in record):
            lines = [line for line in record if "sha256=" in line and ".dist-info/" not in line]  # no installer's
            states.append(f"{installed.version} {content_hash({'files': sorted(lines)})}")
    if not states:  # of a single module, or of a package manager that writes no RECORD
        states = [version(name) for name in sorted(set(packages_distributions().get(package, ())))]
        origin = Path(str(getattr(_spec(package), "origin", None)))
        states += [files.sha256(origin)[:12]] if origin.is_file() else []
    return ", ".join(sorted(states)) or "missing"  # which the component's own error reports


def _of_target(target: str) -> set[str]:
    """Packages that a component of this name runs; nothing is imported for it, since nobody may trust it."""
    package, *inside = target.split(".")
    if package == PACKAGE and inside and (home := component_homes().get(inside[-1])):  # by whichever of its names
        inside = [*home.split("."), inside[-1]]
    folders = getattr(_spec(package), "submodule_search_locations", None) or []
    stems = [Path(folder).joinpath(*inside[:depth]) for folder in folders for depth in range(len(inside), 0, -1)]
    modules = [path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    if package == PACKAGE:
        return {name for path in modules[:1] for name in _imports(path)}
    return {package, *(name for path in modules for name in _listed(path, "libraries"))}


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
    texts = []
    for node in ast.walk(_parsed(path)):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, (ast.Tuple, ast.List)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                texts += [str(item.value) for item in node.value.elts if isinstance(item, ast.Constant)]
    return texts


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
    folders = [*(spec.submodule_search_locations or ())] if spec else []
    places = folders or [str(spec.origin) if spec else ""]
    if not places[0] or not {"site-packages", "dist-packages"}.isdisjoint(Path(places[0]).parts):
        return {}
    if not folders:
        top = Path(places[0]).parent
        modules = {path.name: path for path in sorted(top.glob("*.py"))}
        listed = {name: top / name for path in modules.values() for name in _listed(path, "files")}
        return {name: path for name, path in {**modules, **listed}.items() if path.is_file()}
    paths = {path.relative_to(folder): path for folder in folders for path in Path(folder).rglob("*")}
    visible = {name: path for name, path in paths.items() if not re.search(r"(^|/)\.", name.as_posix())}
    counted = {name.as_posix(): path for name, path in visible.items() if path.suffix not in _BYPRODUCTS}
    return {name: path for name, path in sorted(counted.items()) if path.is_file()}


def _spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # such as that of a module without a spec
        return None
