"""The settings that can change a run's numbers, their hashes, and the resolvers that name folders by these."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dovision.config.sources import configuration_folder, leaves, register_resolver, resolved
from dovision.io import files, paths, text_files

IRRELEVANT_TO_RESULTS = (  # where and how fast things run, not what comes out
    "hydra",
    "name",
    "output_root",
    "logger",
    "num_workers",
    "trust_checkpoint",
    "threads",
    "rerun",
    "dry_run",
    "note",
    "tags",
    "dataset.root",
    "dataset.source.download",
    "dataset.source.root",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.enable_model_summary",
    "trainer.num_sanity_val_steps",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "evaluation.checkpoint_every",
    "evaluation.num_thumbnails",
)

WATCHING = (  # targets of components that look on, and change no number
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.callbacks.DeviceStatsMonitor",
)
IRRELEVANT_TO_FITS = ("trainer.limit_test_batches",)
_NO_DEFAULT = object()


def content_hash(content: Mapping[str, Any]) -> str:
    """Hash of the content, twelve hexadecimal digits, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def paths_named(config: Mapping[str, Any]) -> dict[str, Path]:
    """Existing paths that a plain configuration names, by setting."""
    named = {name: value for name, value in leaves(config) if isinstance(value, str) and value}
    return {name: Path(value) for name, value in named.items() if os.path.exists(value)}


def register_resolvers() -> None:
    """Register the resolvers ${run_hash:}, ${below:KEY}, a subfolder, and ${groups:NAME,...} for helps."""
    register_resolver("groups", _groups, replace=True)
    register_resolver("run_hash", run_hash, replace=True)
    register_resolver(
        "below", lambda key, _root_: paths.safe_relative_path(key, OmegaConf.select(_root_, key)), replace=True
    )


def _groups(*names: str, _root_: DictConfig) -> str:
    """Lines listing the components of these groups."""
    folders = [Path(source.path) for source in _root_.hydra.runtime.config_sources if source.schema == "file"]
    components = {name: {path.stem for folder in folders for path in (folder / name).glob("*.yaml")} for name in names}
    return "\n".join(f"{name}: {', '.join(sorted(stems))}" for name, stems in components.items())


def run_hash(_root_: DictConfig) -> str:
    """Hash that names a run's directory, by what is asked: files count by their content; the resolver `run_hash`."""
    return settings_hash(without_irrelevant(resolved(_root_)), _content)


def settings_hash(config: Mapping[str, Any], of_file: Callable[[str], str] = os.path.basename) -> str:
    """Hash of a plain configuration's values that differ from their defaults, so that a new setting changes none.

    Defaults are those of the commands' yamls and, of a component, those of the first yaml of its `_target_` in this
    package; where a class has none all its values count. Of a component its `_target_` always counts.

    Args:
        config: in plain types, without what is irrelevant.
        of_file: gives what a path of a file counts by.
    """
    values = dict(_differing(config, _defaults_of_commands()))
    paths = {name: value for name, value in values.items() if isinstance(value, str) and os.path.isfile(value)}
    return content_hash({**values, **{name: of_file(path) for name, path in paths.items()}})


def _content(path: str) -> str:
    status = os.stat(path)
    return _sha256(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@functools.lru_cache(maxsize=64)
def _sha256(path: str, state: tuple[int, ...]) -> str:
    return files.sha256(Path(path))


def _differing(node: Mapping[str, Any], defaults: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the values that differ from their defaults, by dotted name."""
    if "_target_" in node:
        yield f"{where}_target_", node["_target_"]
        defaults = _defaults_of(str(node["_target_"]))
    for key, value in node.items():
        default = defaults.get(key, _NO_DEFAULT)
        if isinstance(value, Mapping):
            yield from _differing(value, default if isinstance(default, Mapping) else {}, f"{where}{key}.")
        elif key != "_target_" and value != default:
            yield f"{where}{key}", value
    gone = [f"{where}{key}" for key in defaults.keys() - node.keys() if where and key != "defaults"]
    yield from ((name, "removed") for name in gone if name not in (*IRRELEVANT_TO_RESULTS, *IRRELEVANT_TO_FITS))


@functools.cache
def _defaults_of_commands() -> dict[str, Any]:
    files = ("fitting", "train", "evaluate")
    defaults = {key: value for name in files for key, value in _yaml(f"{name}.yaml").items()}
    return {**defaults, "training": _yaml("training/default.yaml")}


@functools.cache
def _defaults_of(target: str) -> dict[str, Any]:
    """Defaults of a component by its yaml; empty if this package has none."""
    line = re.compile(rf"^_target_: {re.escape(target)}\b", re.MULTILINE)
    paths = sorted(configuration_folder().glob("*/*.yaml")) if target.startswith("dovision.") else []
    return next((_yaml(path) for path in paths if line.search(files.read_text(path))), {})


def _yaml(path: str | Path) -> dict[str, Any]:
    content: dict[str, Any] = text_files.read_yaml(configuration_folder() / path)
    return content


def relevant_to_fits(config: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration without settings that cannot change a fitted model's weights."""
    return without_irrelevant(config, (*IRRELEVANT_TO_RESULTS, *IRRELEVANT_TO_FITS))


def without_irrelevant(
    config: Mapping[str, Any], irrelevant: Collection[str] = IRRELEVANT_TO_RESULTS
) -> dict[str, Any]:
    """Configuration without settings that cannot change its numbers."""

    def relevant(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            key: relevant(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
            for key, value in node.items()
            if f"{prefix}{key}" not in irrelevant
            and not (isinstance(value, Mapping) and value.get("_target_") in WATCHING)
        }

    return relevant(config, "")
