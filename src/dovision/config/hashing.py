"""Hashes that identify a run: of all that can change its numbers, and of nothing else."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dovision.config.sources import leaves, resolved
from dovision.io import files, paths
from dovision.io.files import sha256

if TYPE_CHECKING:  # it takes torch to import, for which the help of a command does not wait
    from dovision.config.settings import CommandSettings, EvaluateSettings

PACKAGE = "dovision"
PLUMBING = ("filelock", "huggingface_hub", "rich", "yaml")  # packages that change no number
_NOT_COMPUTING = ("config", "runtime", "checks")  # what is in dovision that changes none, either
# Packages of dovision through which no model is fitted.
NOT_IN_A_FIT = (
    *("analysis", "attacks", "cli", "detectors", "evaluation", "explainers", "interventions", "metrics", "report"),
    *("store", "sweeps", "tracking", "view"),
)
IRRELEVANT_TO_RESULTS = (  # where and how fast things run, not what comes out
    "hydra",
    "output_root",
    "logger",
    "num_workers",
    "trust_checkpoint",
    "threads",
    "on_failure",
    "rerun",
    "dry_run",
    "note",
    "tags",
    "print_config",
    "optimized_metric",
    "dataset.root",
    "dataset.store",
    "dataset.download",
    "dataset.verify",
    "dataset.workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.enable_model_summary",
    "trainer.num_sanity_val_steps",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "evaluation.checkpoint_every",
    "evaluation.shards",
    "evaluation.shard",
    "detection.workers",
)

WATCHING = (  # targets of components that look on, and change no number
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.callbacks.DeviceStatsMonitor",
    "dovision.training.fit_progress.FitProgress",
)
IRRELEVANT_TO_FITS = ("trainer.limit_test_batches",)

# Settings whose files are identified by the data's fingerprint and by the hashes of the weights.
OF_DATA_AND_WEIGHTS = (
    "dataset",
    "checkpoint",
    "checkpoint_mapping",
    "model",
    "autoencoder",
    "training",
    "augmentation",
    "callbacks",
    "ckpt_path",
    "trainer",
)


def content_hash(content: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that depend on the content, not on the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def file_hash(path: Path) -> str:
    """Twelve hexadecimal digits of the bytes of a regular file."""
    return sha256(path)[:12]


@functools.cache
def code_hash(without: Collection[str] = ()) -> str:
    """Twelve hexadecimal digits of this package's code, but for some of the packages in it."""
    package = Path(__file__).parents[1]
    modules = (path.relative_to(package) for path in package.rglob("*.py"))
    return content_hash(
        {path.as_posix(): file_hash(package / path) for path in modules if path.parts[0] not in without}
    )


def fitting_code_hash(attacks: bool = False) -> str:
    """Twelve hexadecimal digits of the code that fits models, that of datasets and networks included.

    Args:
        attacks: whether that of attacks is included, too, as adversarial training runs it.
    """
    return code_hash(tuple(name for name in NOT_IN_A_FIT if not (attacks and name == "attacks")))


def reading_libraries() -> dict[str, str]:
    """Versions of the libraries by which datasets read files, where these are installed."""
    found = {}
    for name in ("pillow", "torchvision", "torchxrayvision", "datasets", "pydicom", "nibabel"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def foreign_code(config: Mapping[str, Any]) -> dict[str, str]:
    """The code from outside this package that components run: a version if it is installed, else a hash of its files.

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
    packages = {name.partition(".")[0] for name in seen} - {PACKAGE, *PLUMBING}
    return {package: _package_hash(package) for package in sorted(packages)}


@functools.cache
def _imports(name: str) -> frozenset[str]:
    """The full names that a module imports; none of an installed package.

    Args:
        name: of the module or of what is defined in it; of another package all modules count.
    """
    top, *inside = name.split(".")
    if top == PACKAGE:
        path = Path(__file__).parents[1].joinpath(*inside)
        if inside[:1] and inside[0] in _NOT_COMPUTING:
            return frozenset()
        places = [place for place in (path, path.parent) if place.name != PACKAGE]
        modules = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    else:
        modules = list(_own_files(top).values())
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
def _package_hash(name: str) -> str:
    """The version of an installed package, a hash of the files of another one, or "missing"."""
    if modules := _own_files(name):
        return content_hash({place: file_hash(path) for place, path in modules.items()})
    for distribution in packages_distributions().get(name, ()):
        return version(distribution)
    origin = getattr(_spec(name), "origin", None)
    return file_hash(Path(origin)) if origin else "missing"  # which the component's own error reports


def _own_files(package: str) -> dict[str, Path]:
    """The modules of a package that is not installed, by their paths in it."""
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


def paths_named(config: Mapping[str, Any]) -> dict[str, Path]:
    """The files and folders that a configuration in plain types names, by the name of the setting."""
    named = {name: value for name, value in leaves(config) if isinstance(value, str) and value}
    return {name: Path(value) for name, value in named.items() if os.path.exists(value)}


def register_resolvers() -> None:
    """Let a configuration use ${run_hash:}, ${below:KEY}, a folder below another, and ${groups:NAME,...} in a help."""
    OmegaConf.register_new_resolver("groups", _groups, replace=True)
    OmegaConf.register_new_resolver("run_hash", run_hash, replace=True)
    OmegaConf.register_new_resolver("below", _below, replace=True)


def _groups(*names: str, _root_: DictConfig) -> str:
    """A line for each of these groups, with its components."""
    folders = [Path(source.path) for source in _root_.hydra.runtime.config_sources if source.schema == "file"]
    found = {name: {path.stem for folder in folders for path in (folder / name).glob("*.yaml")} for name in names}
    return "\n".join(f"{name}: {', '.join(sorted(components))}" for name, components in found.items())


def _below(key: str, _root_: DictConfig) -> str:
    return paths.below(key, OmegaConf.select(_root_, key))


def run_hash(_root_: DictConfig) -> str:
    """The hash that names a run's directory, with the number of a shard; the resolver `run_hash`."""
    content = resolved(_root_)
    name, own = content_hash(without_irrelevant(content)), content.get("evaluation", {})
    return name if own.get("shard") is None else shard_name(name, own["shard"], own["shards"])


def shard_name(run: str, number: int, shards: int) -> str:
    """The name of the directory of a shard of a run, such as 0123456789ab-3-of-64."""
    return f"{run}-{number}-of-{shards}"


def relevant_settings(settings: CommandSettings) -> dict[str, Any]:
    """Settings of a run, in plain types: all that can change its numbers."""
    return without_irrelevant(settings.plain())


def questions(settings: EvaluateSettings) -> dict[str, str]:
    """Hashes of what is configured of the data, of each network and of files: runs that share one share its origin."""
    own = relevant_to_fits(settings.plain())
    data = own["dataset"]
    fit = {
        "data": data,
        **{
            name: own[name]
            for name in (
                *("model", "augmentation", "callbacks", "ckpt_path", "trainer", "seed"),
                *("checkpoint", "checkpoint_mapping"),
            )
        },
    }
    classifier = content_hash({**fit, "training": own["training"]["classifier"]})
    with_autoencoder = {"into": classifier, "what": own["autoencoder"], "training": own["training"]["autoencoder"]}
    others = {name: value for name, value in own.items() if name not in OF_DATA_AND_WEIGHTS}
    return {
        **{name: content_hash({name: str(path)}) for name, path in paths_named(others).items()},
        "data": content_hash(data),
        "classifier": classifier,
        "permuted_classifier": classifier,
        "autoencoder": content_hash(with_autoencoder),
    }


def relevant_to_fits(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what cannot change the weights of a fitted model."""
    return without_irrelevant(config, (*IRRELEVANT_TO_RESULTS, *IRRELEVANT_TO_FITS))


def without_irrelevant(
    config: Mapping[str, Any], irrelevant: Collection[str] = IRRELEVANT_TO_RESULTS
) -> dict[str, Any]:
    """The configuration without what cannot change its numbers."""

    def relevant(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            key: relevant(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
            for key, value in node.items()
            if f"{prefix}{key}" not in irrelevant
            and not (isinstance(value, Mapping) and value.get("_target_") in WATCHING)
        }

    return relevant(config, "")
