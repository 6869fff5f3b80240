"""Receipts of completed runs and sweeps, by which the same command is answered before torch is imported.

A receipt is kept once a run, or each of a sweep, was found completed for all that a command asks for. It names the
command by its composed configuration, its code and its folder, and holds as long as no file that the runs depend on has
changed on disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import configure_log
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dovision.config import hashing
from dovision.config.null_choices import without_null
from dovision.config.sources import configuration_folder, resolved
from dovision.io import files
from dovision.runtime.fingerprints import Fingerprints
from dovision.runtime.terminal_tables import Closing, TextTable

log = logging.getLogger(__name__)
DONE = "already completed, nothing to do"
OUTDATED = "outdated"  # the state of a completed run that does not stand for the one that is asked for
SWEPT = "all %d jobs are completed already; none is started"
_MULTIRUN = {"-m", "--multirun"}
_VARIABLE = re.compile(r"oc\.env:\s*([^,}\s]*)")


class Receipt(NamedTuple):
    """An answer: the warning of the checks, which may be empty, and how the sweep ended, if it is one."""

    warning: str
    jobs: int = 1
    closing: Closing | None = None
    summary: tuple[str, str] | None = None  # the summary of the sweep, and the hash of its bytes

    def text(self) -> str:
        """The receipt as JSON."""
        return json.dumps(self)

    @classmethod
    def read(cls, text: str) -> Receipt:
        """The receipt of `text`."""
        warning, jobs, closing, summary = json.loads(text)
        if closing is not None:
            table, *others = closing
            closing = Closing(None if table is None else TextTable(*table), *others)
        return cls(warning, jobs, closing, summary)

    def holds(self) -> bool:
        """Return whether the summary is still that of this sweep, and not of another one in its folder."""
        if self.summary is None:
            return True
        with suppress(OSError):
            return files.sha256(Path(self.summary[0])) == self.summary[1]
        return False


def is_answered(command: str, words: Sequence[str]) -> bool:
    """Return whether a receipt answers the command line of a job or of a sweep, and print the answer.

    Args:
        command: whose configuration is composed.
        words: the arguments; with an option other than -m no receipt answers.
    """
    own = _overrides(command, words)
    if any(word.startswith("-") for word in own) or "LOCAL_RANK" in os.environ:
        return False
    swept = None if _MULTIRUN.isdisjoint(words) else own
    hashing.register_resolvers()
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        config = _composed(command, own) if swept is None else _first(command, own)
    HydraConfig.instance().set_config(config)
    if config.hydra.mode == RunMode.MULTIRUN or not _may_be_answered(config):
        return False
    with Fingerprints(Path(config.output_root)) as prints:
        found = prints.completed(_question(config, swept))
    receipt = None if found is None else Receipt.read(found)
    if receipt is None or not receipt.holds():
        return False
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    if receipt.warning:
        log.warning(receipt.warning)
    if receipt.closing is None:
        log.info("%s: %s", DONE, Path(config.hydra.run.dir).absolute())
    else:
        log.info(SWEPT, receipt.jobs)
        receipt.closing.print()
        receipt.closing.print_files()
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
        prints.keep_completed(_question(config, None), Receipt(warning).text(), sources, began)


def keep_swept(
    command: str, words: Sequence[str], receipt: Receipt, sources: Iterable[Path], prints: Fingerprints, began: float
) -> None:
    """Keep a receipt of a sweep of which all jobs were found completed; there is none of what may not be answered.

    Args:
        command: whose configuration is composed.
        words: the arguments of the command line.
        receipt: the answer.
        sources: files and folders that the runs depend on, and the runs themselves.
        prints: of the output root.
        began: seconds since the epoch, before the first of the sources was read.
    """
    own = _overrides(command, words)
    if any(word.startswith("-") for word in own) or _MULTIRUN.isdisjoint(words):
        return
    with suppress(HydraException, OmegaConfBaseException):  # the first values alone need not be a job
        config = _first(command, own)
        if _may_be_answered(config) and not _has_packages(config):
            prints.keep_completed(_question(config, own), receipt.text(), [*_folders(config), *sources], began)


def _overrides(command: str, words: Sequence[str]) -> list[str]:
    return without_null(command, [word for word in words if word not in _MULTIRUN])


def _composed(command: str, words: Sequence[str]) -> DictConfig:
    return compose(command, list(words), return_hydra_config=True)


def _folders(config: DictConfig) -> list[Path]:
    """The folders that a configuration was composed from."""
    return [Path(source.path) for source in config.hydra.runtime.config_sources if source.schema == "file"]


def _has_packages(config: DictConfig) -> bool:
    """Return whether a search path of Hydra leads into a package, whose files are not looked at."""
    sources = config.hydra.runtime.config_sources
    return any(source.schema == "pkg" and not source.path.startswith("hydra") for source in sources)


def _environment(config: DictConfig, words: Sequence[str]) -> dict[str, str | None]:
    """The variables that any job of a sweep may read by ${oc.env:NAME}; all where a name is composed itself."""
    written = (path for folder in _folders(config) for path in folder.rglob("*.yaml") if path.is_file())
    texts = (*words, *(files.read_bytes(path, files.TEXT).decode(errors="replace") for path in written))
    names = sorted({name for text in texts for name in _VARIABLE.findall(text)})
    return {name: os.environ.get(name) for name in names} if all(map(str.isidentifier, names)) else {**os.environ}


def _first(command: str, words: Sequence[str]) -> DictConfig:
    """The configuration of the first of the jobs that the words sweep over."""
    loader = GlobalHydra.instance().config_loader()
    first = []
    for own in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        value = next(own.sweep_string_iterator(), "") if own.is_discrete_sweep() else None
        first.append(str(own.input_line) if value is None else f"{own.get_key_element()}={value}")
    return _composed(command, first)


def _may_be_answered(config: DictConfig) -> bool:
    """Return whether a receipt may answer: not where more is printed, or a run is measured again or merged."""
    if config.evaluation.shard is not None:
        return False
    return not (config.dry_run or config.print_config or config.rerun == "all")


def _question(config: DictConfig, swept: Sequence[str] | None) -> str:
    """A hash of all that a run is made of and is checked against, but for the content of files.

    Args:
        config: of the job, or of the first of a sweep.
        swept: the words of a sweep; None for a single job.
    """
    content, hydra = resolved(config), config.hydra
    given = [*hydra.overrides.task, *(word for word in hydra.overrides.hydra if not word.startswith("hydra.mode="))]
    made = {
        "content": content,
        "overrides": given,
        "swept": None if swept is None else [*swept, OmegaConf.to_container(hydra.sweeper), hydra.sweep.dir],
        "environment": None if swept is None else _environment(config, swept),
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
