"""Hydra's callbacks before a command's first job: all jobs are composed and checked; a dry run ends here."""

from __future__ import annotations

import itertools
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dovision.config.composition import refusal
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings
from dovision.io.process_state import is_rank_zero
from dovision.io.progress import DISPLAY
from dovision.jobs.command import Command, current, warn_of_unused
from dovision.jobs.job import BASIC, Job, leave, plain_overrides, plugin
from dovision.jobs.sweep import Sweep
from dovision.results.image_ranges import sorted_ranges
from dovision.results.run_record import DONE, Run

log = logging.getLogger(__name__)
MASK_FILES = "dovision.interventions.mask_files.MaskFiles"
AGAIN = "rerun=unfinished"  # of a command that is launched again, after its launcher has failed
PLUGINS = ("hydra_joblib_launcher", "hydra_submitit_launcher", "hydra_ray_launcher")
_MOST_JOBS = 100_000
BASIC_SWEEPER = "BasicSweeper"  # classes of Hydra and of its plugins
JOBLIB, LOCAL, SLURM = "JoblibLauncher", "LocalLauncher", "SlurmLauncher"
HERE = (BASIC, JOBLIB, LOCAL)  # launchers that run jobs on this machine
SHOWN = 10  # refused jobs that are listed one by one


class Start(Callback):
    """Check the job of a command, or all jobs of its sweep, before anything is started or written."""

    def __init__(self, command: str) -> None:
        self._name = command  # alone: launchers send this object to their workers

    @property
    def command(self) -> Command:
        return current(self._name)

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        self._or_exit(self._run, config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._or_exit(self._sweep, config)

    def _run(self, config: DictConfig) -> None:
        if params := parameters(config):
            raise ValueError(
                f"hydra.sweeper.params needs a sweep, got a single job and {', '.join(params)}. Add -m, or write "
                "hydra.mode: MULTIRUN beside it."
            )
        job = self.command.job(config, config.hydra)
        self.command.jobs = {job.folder: job}
        self._check_job(job)
        warn_of_unused([job])

    def _check_job(self, job: Job) -> None:
        self.command.check(job)

    def _sweep(self, config: DictConfig) -> None:
        _check_plugins(config)
        name_by_factors(config)
        checked(config, overrides_of_jobs(config), self.command, self.command.check)

    def _or_exit(self, step: Callable[[DictConfig], object], config: DictConfig) -> None:
        """Exit on an exception, which Hydra would turn into a warning in a callback."""
        try:
            step(config)
        except Exception as error:
            is_of_omegaconf = isinstance(error, OmegaConfBaseException)  # which may not know of which key it is
            text = refusal(error, self.command.name, sys.argv[1:]) if is_of_omegaconf else error_text(error)
            print(f"dovision-{self.command.name}: {text}", file=sys.stderr)
            sys.exit(1)


class SweepStart(Start):
    """Start of a command whose jobs have run directories: a dry run, or a new or resumed sweep."""

    def _check_job(self, job: Job) -> None:
        settings, run = job.settings, Run(job.folder)
        looks = not settings.dry_run and is_rank_zero()
        if looks and (reason := job.reason_to_skip(run)):
            leave(run, reason)
            warn_of_unused([job])
            sys.exit(0)
        self.command.check(job)
        if settings.dry_run:
            warn_of_unused([job])
            _print_plan([job])

    def _sweep(self, config: DictConfig) -> None:
        _check_plugins(config)
        folder = QuotedString(str(Path(config.hydra.sweep.dir).absolute()), Quote.single).with_quotes()
        add_override(config, "hydra", f"hydra.sweep.dir={folder}")  # for workers in another working folder
        share_cores(config)
        name_by_factors(config)
        if self.command.sweep is None:
            self._begin(config)
        else:  # launched again
            add_override(config, "task", AGAIN)

    def _begin(self, config: DictConfig) -> None:
        """Compose and check the jobs, and begin the sweep; exit if there is nothing to do."""
        runs, reasons = dict[Path, Run](), list[str]()
        opened = set[str]()

        def check(job: Job, here: bool) -> None:
            if not config.dry_run:
                run = runs[job.folder] = Run(job.folder)
                reasons.append(job.reason_to_skip(run))
                if reasons[-1] == DONE:
                    run.remove_chunks()
                    return
            self.command.check(job, here)
            _check_data(job, opened)

        jobs = checked(config, overrides_of_jobs(config), self.command, check)
        if config.dry_run:
            _print_plan(jobs)
        _check_roots(jobs)
        words = {word.replace("\\", "").partition("=") for job in jobs for word in job.overrides}
        sorted_ranges(value for key, _, value in words if key == "evaluation.images" and ":" in value)
        is_done = {*reasons} == {DONE}
        self.command.sweep = Sweep(config, jobs, runs, is_done)
        if is_done:
            log.info("all %d jobs are completed already; none is started", len(jobs))
            sys.exit(int(not self.command.sweep.close()))


def _print_plan(jobs: Sequence[Job]) -> None:
    from dovision.jobs.dry_run import table  # with Lightning

    print(table(jobs))
    sys.exit(0)


def _check_data(job: Job, opened: set[str]) -> None:
    """Open the data and read the masks that jobs share, once, for errors of columns and files before the first job.

    `opened` has what was checked for other jobs.
    """
    settings: EvaluateSettings = job.settings
    root, evaluation = settings.dataset.get("root"), settings.evaluation
    has_masks = settings.intervention["_target_"] == MASK_FILES
    masks = [settings.intervention[key] for key in ("root", "files", "units", "missing")] if has_masks else []
    key = repr([dict(settings.dataset), masks, evaluation.split, evaluation.images, evaluation.only_with_boxes])
    if key in opened or not (Path(root).is_dir() if isinstance(root, str) else has_masks):
        return
    opened.add(key)
    from dovision.identity.samples import evaluated_samples
    from dovision.interventions.mask_files import check_units
    from dovision.measurement.by_name import one_component

    images = job.shared.images(settings.dataset)
    if has_masks:
        intervention = one_component("intervention", settings.intervention.make())
        intervention.bind(images, evaluation.split)
        check_units(intervention, images, evaluated_samples(evaluation, images))


def _check_roots(jobs: Sequence[Job]) -> None:
    """Raise for jobs with one run directory but different data."""
    by_folder: dict[Path, Job] = {}
    for job in jobs:
        other = by_folder.setdefault(job.folder, job)
        roots = [one.settings.dataset.get("root") for one in (other, job)]
        if roots[0] != roots[1]:
            raise ValueError(
                f"jobs {other.number} and {job.number} must not write to one run, got dataset.root={roots[0]} and "
                f"{roots[1]}, which is no part of a run's name. Write a command for each, with another name=..."
            )


def _check_plugins(config: DictConfig) -> None:
    target = config.hydra.launcher.get("_target_", "")
    for name in PLUGINS:
        if f".{name}." in target and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{name}")):
            raise ValueError(f"this launcher is not installed. Install it: pip install {name.replace('_', '-')}.")
    if plugin(config, "launcher") == SLURM and not (config.get("dry_run") or shutil.which("srun")):
        raise ValueError(
            "hydra/launcher=submitit_slurm needs SLURM, got a machine without srun. Start the command on a cluster's "
            "login node, or choose hydra/launcher=submitit_local."
        )
    if plugin(config, "sweeper") != BASIC_SWEEPER:
        raise ValueError(
            f"hydra/sweeper must be Hydra's basic one, got {plugin(config, 'sweeper')}: all jobs are checked before "
            "the first starts. Leave hydra/sweeper out, and name the values: -m KEY=A,B."
        )


def share_cores(config: DictConfig) -> None:
    """Limit a batch of submitit's local launcher, which starts all its jobs at once, to the cores, shared among them.

    Numbers that the user has set stay.
    """
    if plugin(config, "launcher") != LOCAL:
        return
    cores = os.cpu_count() or 1
    if config.hydra.sweeper.get("max_batch_size", 1) is None:
        log.info("at most %d jobs at once; for more or fewer: hydra.sweeper.max_batch_size=...", cores)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper.max_batch_size = cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // config.hydra.sweeper.max_batch_size)))


def overrides_of_jobs(config: DictConfig) -> list[tuple[str, ...]]:
    """Overrides of each job of Hydra's basic sweeper."""
    axes = [list(itertools.islice(_values(override), _MOST_JOBS + 1)) for override in _parsed(config).values()]
    if math.prod(map(len, axes)) > _MOST_JOBS:
        raise ValueError(f"a sweep must have at most {_MOST_JOBS:,} jobs, got more. Name fewer values.")
    if twice := [axis for axis in axes if len({*axis}) < len(axis)]:
        raise ValueError(f"a sweep must name each value once, got {', '.join(twice[0])}.")
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
