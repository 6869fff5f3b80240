"""The jobs of a sweep, composed, made and checked before any of them starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dovision.config.composition import refusal
from dovision.config.errors import error_text
from dovision.io.progress import DISPLAY
from dovision.jobs.command import Command, warn_of_unused
from dovision.jobs.job import BASIC, Job, plain_overrides, plugin

_MOST_JOBS = 100_000
BASIC_SWEEPER = "BasicSweeper"  # classes of Hydra and of its plugins
JOBLIB, LOCAL, SLURM = "JoblibLauncher", "LocalLauncher", "SlurmLauncher"
HERE = (BASIC, JOBLIB, LOCAL)  # launchers that run jobs on this machine
SHOWN = 10  # refused jobs that are listed one by one


def overrides_of_jobs(config: DictConfig) -> list[tuple[str, ...]]:
    """Overrides of each job of Hydra's basic sweeper."""
    axes = [list(itertools.islice(_values(override), _MOST_JOBS + 1)) for override in _parsed(config).values()]
    if math.prod(map(len, axes)) > _MOST_JOBS:
        raise ValueError(f"a sweep must have at most {_MOST_JOBS:,} jobs, got more. Name fewer values.")
    return list(itertools.product(*axes))


def name_by_factors(config: DictConfig) -> None:
    """Exclude overrides shared by all jobs from their names, by Hydra's own setting."""
    shared = [key.lstrip("+~") for key, override in _parsed(config).items() if not override.is_sweep_override()]
    keys = ",".join(QuotedString(key, Quote.single).with_quotes() for key in shared)
    add_override(config, "hydra", f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")


def add_override(config: DictConfig, node: str, override: str) -> None:
    """Add an override of Hydra, "hydra", or of the task, "task"; their lists are read-only from OmegaConf 2.4 on."""
    with read_write(config.hydra):
        config.hydra.overrides[node] = [*plain_overrides(config.hydra, node), override]


def _parsed(config: DictConfig) -> dict[str, Override]:
    """Overrides of a sweep by key; the command line takes precedence over the configuration."""
    given = [f"{key}={value}" for key, value in parameters(config).items()]
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(
        [*given, *plain_overrides(config.hydra, "task")]
    )
    return {override.get_key_element(): override for override in parsed}  # the last one of a key counts


def _values(override: Override) -> Iterable[str]:
    """Iterate over one override per swept value."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ValueError(
            f"Hydra's basic sweeper takes values with commas, choice() or range(), got {override.input_line}."
        )
    return (f"{key}={value}" for value in override.sweep_string_iterator())


def parameters(config: DictConfig) -> dict[str, Any]:
    """Values that a configuration sweeps over, by key."""
    return dict(config.hydra.sweeper.get("params") or {})


def compose(config: DictConfig, number: int, words: Sequence[str]) -> DictConfig:
    """Compose a job of a sweep, as its launcher will; the configuration is valid until the next job is composed.

    Raises:
        ValueError: the overrides cannot be composed.
    """
    name, of_hydra = config.hydra.job.config_name, plain_overrides(config.hydra, "hydra")
    try:
        composed = hydra.compose(name, [*of_hydra, *words], return_hydra_config=True)
    except Exception as error:
        raise ValueError(refusal(error, name, ["-m", *of_hydra, *words])) from error
    OmegaConf.copy_cache(from_config=config, to_config=composed)  # so that ${now:} is the time of the sweep
    with read_write(composed.hydra), open_dict(composed.hydra):
        composed.hydra.mode = RunMode.MULTIRUN  # which `compose` takes for a single job, as the launcher does not
        composed.hydra.job.num = number
    return composed


def checked(
    config: DictConfig, overrides: Sequence[Sequence[str]], command: Command, check: Callable[[Job, bool], object]
) -> list[Job]:
    """Make and check all jobs of a sweep, each by `check` with whether it runs on this machine.

    Raises:
        ValueError: names each refused job, and why.
    """
    jobs, refused, shared = list[Job](), list[str](), set.intersection(*map(set, overrides))
    for number, words in enumerate(DISPLAY.track(overrides, "checking jobs", "jobs", len(overrides))):
        try:
            composed = compose(config, number, words)
            check_devices(composed)
            job = command.job(composed, composed.hydra)
            check(job, plugin(composed, "launcher") in HERE)
            jobs.append(job)
        except (ValueError, OSError, OmegaConfBaseException) as error:
            differing = " ".join(word for word in words if word not in shared) or " ".join(words) or "as configured"
            refused.append(f"job {number} ({differing}): {error_text(error)}")
    if refused:
        more = [f"and {len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
        head = f"{len(refused)} of {len(overrides)} jobs cannot run, and none was started:"
        raise ValueError("\n  ".join([head, *refused[:SHOWN], *more]))
    command.jobs = {job.folder: job for job in jobs}
    warn_of_unused(jobs)
    return jobs


def check_devices(config: DictConfig) -> None:
    """Raise for several devices in a job of a sweep."""
    if "trainer" in config and config.trainer.devices not in (1, "1", [0]):
        raise ValueError(
            f"trainer.devices must be 1 in a sweep, got {config.trainer.devices}: the processes of the other devices "
            "would each run the whole sweep. Give each job a device of its own, or run the job without -m."
        )
