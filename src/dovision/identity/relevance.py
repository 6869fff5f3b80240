"""The settings that can change a run's numbers, their hashes, and the resolvers that name folders by these."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dovision.config.sources import leaves, register_resolver, resolved
from dovision.io import paths

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
    "detection.workers",
)

WATCHING = (  # targets of components that look on, and change no number
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.callbacks.DeviceStatsMonitor",
)
IRRELEVANT_TO_FITS = ("trainer.limit_test_batches",)


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
    register_resolver("below", _below, replace=True)


def _groups(*names: str, _root_: DictConfig) -> str:
    """Lines listing the components of these groups."""
    folders = [Path(source.path) for source in _root_.hydra.runtime.config_sources if source.schema == "file"]
    components = {name: {path.stem for folder in folders for path in (folder / name).glob("*.yaml")} for name in names}
    return "\n".join(f"{name}: {', '.join(sorted(stems))}" for name, stems in components.items())


def _below(key: str, _root_: DictConfig) -> str:
    return paths.safe_relative_path(key, OmegaConf.select(_root_, key))


def run_hash(_root_: DictConfig) -> str:
    """Hash that names a run's directory; the resolver `run_hash`."""
    return content_hash(without_irrelevant(resolved(_root_)))


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
