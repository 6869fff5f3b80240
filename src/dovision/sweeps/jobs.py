"""The jobs of a command, composed before any of them starts."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.default_element import ConfigDefault, GroupDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import MissingConfigException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dovision.config.errors import error_text
from dovision.sweeps.validation import Checks

Planned = TypeVar("Planned")
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"  # as Hydra's own configuration names it
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
HERE = (BASIC, JOBLIB, LOCAL)  # launchers that run jobs on this machine
MACHINE = "local"  # the group of settings of the user's machine
MACHINE_FILE = f"{MACHINE}/default"  # which need not be there
SHOWN = 10  # refused jobs that are listed one by one


class Job(NamedTuple):
    """One job of a command: its number, overrides, where it writes, and in which overrides it differs from others."""

    number: int
    overrides: tuple[str, ...]
    folder: Path
    own: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The overrides by which it differs from the others; all of them if there are none."""
        return " ".join(self.own or self.overrides) or "as configured"


class Composed(NamedTuple):
    """A job, and its configuration, which holds until the next job is composed."""

    job: Job
    config: DictConfig


def workers(config: DictConfig) -> int | None:
    """How many jobs a launcher runs at a time; None if that is not known."""
    launcher, cores = config.hydra.launcher, os.cpu_count() or 1
    target = launcher.get("_target_")
    if target == JOBLIB:
        return int(launcher.n_jobs if launcher.n_jobs > 0 else max(1, cores + 1 + launcher.n_jobs))
    if target == LOCAL:
        return int(config.hydra.sweeper.get("max_batch_size") or cores)
    if target == SLURM:
        return int(launcher.array_parallelism)
    return 1 if target == BASIC else None


def overrides_of_jobs(config: DictConfig) -> list[tuple[str, ...]] | None:
    """The overrides of each job of Hydra's basic sweeper; None for a sweeper that chooses jobs as it goes."""
    if config.hydra.sweeper.get("_target_") != BASIC_SWEEPER:
        return None
    return list(itertools.product(*map(_values, _parsed(config).values())))


def name_by_factors(config: DictConfig) -> None:
    """Keep what all jobs of a sweep share out of their names, by Hydra's own setting for that."""
    shared = [key.lstrip("+~") for key, override in _parsed(config).items() if not override.is_sweep_override()]
    keys = ",".join(QuotedString(key, Quote.single).with_quotes() for key in shared)
    config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")


def _parsed(config: DictConfig) -> dict[str, Override]:
    """The overrides of a sweep by their keys, those of its configuration before those of the command line."""
    given = [f"{key}={value}" for key, value in parameters(config).items()]
    parsed = OverridesParser.create(config_loader=_loader()).parse_overrides([*given, *_task(config)])
    return {override.get_key_element(): override for override in parsed}  # the last one of a key counts


def _values(override: Override) -> list[str]:
    """An override for each of the values that it sweeps over."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ValueError(
            f"Hydra's basic sweeper takes values with commas, choice() or range(), got {override.input_line}."
        )
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _task(config: DictConfig) -> list[str]:
    """The overrides of the command line as they are written, with ${...}, which is the job's to resolve."""
    task: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return list(task)


def compose_again(config: DictConfig) -> None:
    """Compose a single job from files without optional entries: Hydra has composed it before it calls anything."""
    Composer(config)(_task(config))


def parameters(config: DictConfig) -> dict[str, Any]:
    """The values over which a configuration asks to sweep, by key."""
    return dict(config.hydra.sweeper.get("params") or {})


def compose(config: DictConfig, overrides: Sequence[Sequence[str]]) -> Iterator[Composed]:
    """Each job as Hydra will compose it; the yaml files are read once for all of them, here and by the launcher."""
    composer, shared = Composer(config), set.intersection(*map(set, overrides))
    if config.hydra.launcher.get("_target_") == BASIC:  # others send the loader to their workers
        _loader().load_sweep_config = Launched(_loader()).config  # type: ignore[method-assign]
    Sweeper.validate_batch_is_legal = _are_composed_here  # type: ignore[assignment, method-assign]
    for number, every in enumerate(overrides):
        composed = composer(every)
        _check_sweep_options(composed, config)
        with read_write(composed.hydra), open_dict(composed.hydra):
            composed.hydra.job.num = number  # as the launcher will
        folder = Path(composed.hydra.sweep.dir) / composed.hydra.sweep.subdir
        own = tuple(override for override in every if override not in shared)
        yield Composed(Job(number, tuple(every), folder.absolute(), own), composed)


def _are_composed_here(sweeper: Sweeper, batch: Sequence[Sequence[str]]) -> None:
    """In place of Hydra's own check that jobs can be composed, which takes a seventh of a short job's time."""


def _check_sweep_options(job: DictConfig, sweep: DictConfig) -> None:
    """Refuse what Hydra would ignore: it reads the launcher and the sweep's parameters before it composes the jobs."""
    own, used = (config.hydra.runtime.choices["hydra/launcher"] for config in (job, sweep))
    if own != used:
        raise ValueError(
            f"a swept experiment must leave the launcher to the command line, got {own}, where {used} would be used. "
            f"Write hydra/launcher={own} beside -m."
        )
    own, used = (parameters(config) for config in (job, sweep))
    if own != used:
        raise ValueError(
            f"an experiment with hydra.sweeper.params cannot be swept itself, got {_written(own)}, where "
            f"{_written(used)} would be used. Run each such experiment by a command of its own."
        )


def _written(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items()) or "none"


def checked(jobs: Iterable[Composed], check: Checks, plan: Callable[[Job, Any], Planned]) -> list[Planned]:
    """The plan of each job of a sweep, from the job and its settings, if all pass the checks.

    Raises:
        ValueError: names each refused job, and why.
    """
    plans, refused, count = [], [], 0
    for count, (job, config) in enumerate(jobs, 1):  # noqa: B007
        try:
            here = config.hydra.launcher.get("_target_") in HERE
            settings = check(config, job.overrides, config.hydra.runtime.choices, here)
            check_devices(config)
            plans.append(plan(job, settings))
        except (ValueError, OSError, OmegaConfBaseException) as error:
            refused.append(f"job {job.number} ({job.name}): {error_text(error)}")
    if refused:
        more = [f"and {len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
        head = f"{len(refused)} of {count} jobs cannot run, and none was started:"
        raise ValueError("\n  ".join([head, *refused[:SHOWN], *more]))
    return plans


class _Parsed(NamedTuple):
    """The overrides of a job: each with whether it sets a value, and what jobs that differ in values alone share."""

    overrides: list[tuple[Override, bool]]
    form: tuple[str, ...]

    def set_values(self, composed: DictConfig) -> None:
        for own, is_value in self.overrides:
            if is_value:
                OmegaConf.update(composed, own.key_or_group, own.value(), merge=True)


class _Parser:
    """Parses overrides, each once."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._repository = loader.repository  # type: ignore[attr-defined]
        self._parser = OverridesParser.create()
        self._parsed: dict[str, tuple[Override, bool]] = {}  # by how they are written

    def __call__(self, overrides: Sequence[str]) -> _Parsed:
        parsed = [self._parse(override) for override in overrides]
        form = (f"{own.key_or_group}=" if is_value else str(own.input_line) for own, is_value in parsed)
        return _Parsed(parsed, tuple(form))

    def _parse(self, override: str) -> tuple[Override, bool]:
        if override not in self._parsed:
            (own,) = self._parser.parse_overrides([override])
            plain = own.type == OverrideType.CHANGE and own.package is None and not isinstance(own.value(), dict)
            self._parsed[override] = own, plain and not self._repository.group_exists(own.key_or_group)
        return self._parsed[override]


class Composer:
    """Composes jobs one after the other: where only values differ from the job before, these alone are set again.

    A job takes 2 ms so, and 108 ms by hydra.compose: a dry run of a thousand jobs 2 s instead of 2 minutes.

    Args:
        config: of the sweep.
    """

    def __init__(self, config: DictConfig) -> None:
        self._sweep = config
        read_once()
        self._loader = _loader()
        self._parse = _Parser(self._loader)
        self._form: tuple[str, ...] | None = None
        self._composed: DictConfig

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        parsed = self._parse(overrides)
        if parsed.form != self._form:
            self._composed = self._loader.load_sweep_config(self._sweep, list(overrides))
        else:
            parsed.set_values(self._composed)
        self._form = parsed.form
        return self._composed


class Launched:
    """Configurations of the jobs that are launched: each a copy of that of an earlier job, where only values differ.

    Hydra's basic launcher composes each job from its files, which takes a sixth of a short job's time.

    Args:
        loader: Hydra's, whose `load_sweep_config` composes the first job of each form.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._compose = loader.load_sweep_config
        self._parse = _Parser(loader)
        self._composed: dict[Any, bytes] = {}  # by the form of a job and Hydra's own overrides

    def config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """In place of the loader's `load_sweep_config`, under the names of its arguments."""
        parsed = self._parse(sweep_overrides)
        key = parsed.form, tuple(master_config.hydra.overrides.hydra)
        if key not in self._composed or any(own.is_hydra_override() for own, _ in parsed.overrides):
            composed = self._compose(master_config, sweep_overrides)
            self._composed[key] = pickle.dumps(composed)
            return composed
        composed = pickle.loads(self._composed[key])
        parsed.set_values(composed)
        naming = composed.hydra.job.config.override_dirname
        with read_write(composed.hydra):
            composed.hydra.overrides.task = [own.input_line for own, _ in parsed.overrides]
            composed.hydra.job.override_dirname = get_overrides_dirname(
                [own for own, _ in parsed.overrides], naming.exclude_keys, naming.item_sep, naming.kv_sep
            )
        OmegaConf.copy_cache(from_config=master_config, to_config=composed)
        return composed


def check_devices(config: DictConfig) -> None:
    """Refuse several devices in a job of a sweep."""
    if "trainer" in config and config.trainer.devices not in (1, "1", [0]):
        raise ValueError(
            f"trainer.devices must be 1 in a sweep, got {config.trainer.devices}: the processes of the other devices "
            "would each run the whole sweep. Give each job a device of its own, or run the job without -m."
        )


class ReadOnce:
    """Hydra's configuration files, read once for all jobs; each job gets copies, since Hydra merges into them.

    No entry of a defaults list is optional: a name that does not exist is an error. Only `local` is nothing where the
    user has no such file. Hydra has no setting for either; read once, hydra.compose takes some 60% of its time.
    """

    def __init__(self, repository: Any) -> None:
        self._repository = repository
        self._copies: dict[str, Callable[[], ConfigResult | None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> ReadOnce:
        return self

    def __reduce__(self) -> tuple[type[ReadOnce], tuple[Any]]:
        return ReadOnce, (self._repository,)  # a launcher's worker reads the files itself

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self._copies:
            self._copies[config_path] = _copier(self._repository.load_config(config_path))
        loaded = self._copies[config_path]()
        if loaded is None and config_path.startswith(f"{MACHINE}/") and config_path != MACHINE_FILE:
            names = self._repository.get_group_options(MACHINE)
            raise MissingConfigException(f"there is no {config_path}", config_path, names)
        for entry in (loaded.defaults_list or ()) if loaded else ():
            if isinstance(entry, (ConfigDefault, GroupDefault)):
                entry.optional = isinstance(entry, GroupDefault) and entry.group == MACHINE
        return loaded


def _copier(loaded: ConfigResult | None) -> Callable[[], ConfigResult | None]:
    """Makes copies, by pickle in a tenth of deepcopy's time, where it can.

    In a launcher's worker Hydra has imported its plugins again, and classes of its own nodes are not those of their
    modules any more, which pickle refuses.
    """
    try:
        return functools.partial(pickle.loads, pickle.dumps(loaded))
    except pickle.PicklingError:
        return functools.partial(copy.deepcopy, loaded)


def read_once() -> None:
    """Let Hydra's loader keep the files that it reads from now on."""
    loader = _loader()
    if not isinstance(loader.repository, ReadOnce):  # type: ignore[attr-defined]
        loader.repository = ReadOnce(loader.repository)  # type: ignore[attr-defined]


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()
