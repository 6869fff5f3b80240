"""Receipts of completed runs, by which the same command is answered before torch is imported.

A receipt is kept once a run was found completed for all that a command asks for. It names the command by its composed
configuration, its code and its folder, and holds as long as no file that the run depends on has changed on disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dovision.config import hashing
from dovision.config.null_choices import without_null
from dovision.config.sources import configuration_folder, resolved
from dovision.runtime.fingerprints import Fingerprints

log = logging.getLogger(__name__)
DONE = "already completed, nothing to do"
OUTDATED = "outdated"  # the state of a completed run that does not stand for the one that is asked for


def is_answered(command: str, words: Sequence[str]) -> bool:
    """Return whether a receipt answers the command line of a single job, after a line in the log.

    Args:
        command: whose configuration is composed.
        words: the arguments; with an option, such as -m, no receipt answers.
    """
    if any(word.startswith("-") for word in words) or "LOCAL_RANK" in os.environ:
        return False
    hashing.register_resolvers()
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        config = compose(command, without_null(command, words), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    if config.hydra.mode == RunMode.MULTIRUN or not _may_be_answered(config):
        return False
    with Fingerprints(Path(config.output_root)) as prints:
        warning = prints.completed(_question(config))
    if warning is None:
        return False
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    if warning:
        log.warning(warning)
    log.info("%s: %s", DONE, Path(config.hydra.run.dir).absolute())
    return True


def keep(config: DictConfig, warning: str, sources: Iterable[Path], prints: Fingerprints, began: float) -> None:
    """Keep a receipt of a single job that was found completed.

    Args:
        config: of the job, with Hydra's own node.
        warning: of the checks; may be empty.
        sources: files and folders that the run depends on, and the run itself.
        prints: of the output root.
        began: seconds since the epoch, before the first of the sources was read.
    """
    if _may_be_answered(config):
        prints.keep_completed(_question(config), warning, sources, began)


def _may_be_answered(config: DictConfig) -> bool:
    """Return whether a receipt may answer: not where more is printed, or a run is measured again or merged."""
    if config.evaluation.shard is not None:
        return False
    return not (config.dry_run or config.print_config or config.rerun == "all")


def _question(config: DictConfig) -> str:
    """A hash of all that a run is made of and is checked against, but for the content of files."""
    content, hydra = resolved(config), config.hydra
    given = [*hydra.overrides.task, *(word for word in hydra.overrides.hydra if not word.startswith("hydra.mode="))]
    made = {
        "content": content,
        "overrides": given,
        "choices": OmegaConf.to_container(hydra.runtime.choices),
        "folder": os.getcwd(),  # in which relative paths are meant
        "run": hydra.run.dir,
        "code": hashing.code_hash(),
        "torch": version("torch"),
        "libraries": hashing.reading_libraries(),
        "components": hashing.foreign_code(content),
        "paths": sorted(hashing.paths_named(hashing.without_irrelevant(content))),
    }
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
