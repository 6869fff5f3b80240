"""What a run is: a hash of all that can change its numbers, and of nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dovision import paths
from dovision.inputs.files import open_file

PIECE = 1 << 20  # bytes hashed at a time
PLUMBING = (  # where and how fast things run, not what comes out
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
    "dataset.root",
    "dataset.download",
    "dataset.verify",
    "dataset.workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.enable_model_summary",
    "evaluation.flush",
)


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration with all interpolations resolved, in plain types."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def content_hash(content: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that depend on the content, not on the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def file_hash(path: Path) -> str:
    """Twelve hexadecimal digits of the bytes of a regular file."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()[:12]


@functools.cache
def code_hash() -> str:
    """Twelve hexadecimal digits of this package's code."""
    package = Path(__file__).parent
    files = {path.relative_to(package).as_posix(): file_hash(path) for path in package.rglob("*.py")}
    return content_hash(files)


def register_resolvers() -> None:
    """Let the configuration use ${run_hash:}, and ${below:KEY}, a setting that names a folder below another."""
    OmegaConf.register_new_resolver("run_hash", run_hash, replace=True)
    OmegaConf.register_new_resolver("below", _below, replace=True)


def _below(key: str, _root_: DictConfig) -> str:
    return paths.below(key, OmegaConf.select(_root_, key))


def run_hash(_root_: DictConfig) -> str:
    """The hash that names a run's directory; the resolver `run_hash` of the configuration."""
    nodes = {str(key): _root_[key] for key in _root_ if key != "hydra"}
    config = {key: plain(node) if OmegaConf.is_config(node) else node for key, node in nodes.items()}
    return content_hash(without_plumbing(config))


def work_hash(config: DictConfig) -> str:
    """The hash of what a forward pass of a run costs: network, image shape, intervention and attack."""
    parts = {name: plain(config[name]) for name in ("model", "intervention", "attack")}
    return content_hash({**parts, "shape": list(config.dataset.shape)})


def without_plumbing(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what cannot change its numbers."""

    def kept(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            key: kept(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
            for key, value in node.items()
            if f"{prefix}{key}" not in PLUMBING
        }

    return kept(config, "")
