"""A command in this process: its jobs, made and checked once each, and what they share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.types import RunMode
from omegaconf import DictConfig

from dovision.config import settings
from dovision.config.settings import TrainSettings
from dovision.identity.dependencies import Shared, reads_code
from dovision.io.allocator import uncollected
from dovision.jobs.job import Job, plain_overrides
from dovision.jobs.keys import check_choices, check_command, check_target, drop_unselected

if TYPE_CHECKING:
    from dovision.jobs.components import Components
    from dovision.jobs.sweep import Sweep

log = logging.getLogger(__name__)


class Command:
    """A command from its first job to its last: jobs by folder, and the checks and files that they share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shared = Shared()
        self.jobs: dict[Path, Job] = {}  # those that were made and checked before the first started
        self.sweep: Sweep | None = None  # that this process has started

    def job(self, config: DictConfig, hydra: Any) -> Job:
        """Make a job of its composed configuration, whose keys and values are checked, without Lightning.

        Args:
            config: with or without Hydra's own node.
            hydra: that node.

        Raises:
            ValueError: names the key, the rule and what was got.
        """
        if hydra.mode == RunMode.MULTIRUN and config.get("trainer", {}).get("devices", 1) not in (1, "1", [0]):
            raise ValueError(
                f"trainer.devices must be 1 in a sweep, got {config.trainer.devices}: the processes of the other "
                "devices would each run the whole sweep. Give each job a device of its own, or run the job without -m."
            )
        overrides = plain_overrides(hydra, "task")
        check_command(self.name, overrides)
        check_choices(self.name, config, overrides, hydra.runtime.choices)
        read = settings.read(self.name, drop_unselected(self.name, config, overrides))
        return Job.of(hydra, read, self.shared)

    def check(self, job: Job, here: bool = True) -> Job:
        """Make the components of a job that is to be done, and check them; return the job.

        Without `here` it runs on another machine, with other devices.

        Raises:
            ValueError: names the key, the rule and what was got.
            FileNotFoundError: there is no such file.
        """
        for component in settings.components(job.settings):
            check_target(component.where, component)
        if isinstance(job.settings, TrainSettings) and job.settings.composes_networks:
            self._components.check(job.settings, here)
        return job

    @functools.cached_property
    def _components(self) -> Components:
        with uncollected():  # with Lightning, which neither a report nor a completed run waits for
            from dovision.jobs.components import Components

        return Components()


class Consumer(NamedTuple):
    """Consumer of configuration sections, which a job without it ignores."""

    sections: tuple[str, ...]
    is_there: Callable[[Any], bool]  # of the settings
    name: str  # with the override that adds it


def _fits_classifier(settings: Any) -> bool:
    return settings.checkpoint is None


CONSUMERS = (
    Consumer(
        ("autoencoder", "training.autoencoder"),
        reads_code,
        "an autoencoder (autoencoder=NAME) and, in an evaluation, what reads its code (intervention=activation)",
    ),
    Consumer(
        ("training",),
        lambda settings: _fits_classifier(settings) or not settings.training.classifier.fit or reads_code(settings),
        "a classifier to fit (checkpoint=null; model.weights=FILE goes on from a file)",
    ),
    Consumer(("training.classifier", "augmentation"), _fits_classifier, "a classifier to fit (checkpoint=null)"),
    Consumer(
        ("model",),
        lambda settings: (
            _fits_classifier(settings) or settings.foreign_checkpoint is not None or settings.is_foreign_model
        ),
        "a classifier to fit (checkpoint=null), since a checkpoint names its own model",
    ),
    Consumer(("trust_checkpoint",), lambda settings: settings.checkpoint is not None, "checkpoint=FILE"),
    Consumer(("explanation",), lambda settings: bool(settings.explainer), "explainer=[NAME,...]"),
    Consumer(("detection",), lambda settings: bool(settings.detector), "detector=[NAME,...]"),
    Consumer(
        ("detection.adaptive",),
        lambda settings: bool(settings.adaptively_attacked),
        "detection.adaptive.detectors=[NAME,...]",
    ),
)


def unused(settings: TrainSettings, overrides: Iterable[str]) -> dict[str, str]:
    """Overridden keys that a job ignores, with the consumer that each needs."""
    lacking = {}
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        section = key.rpartition("@")[2]
        for consumer in CONSUMERS:
            is_inside = any(f"{section}.".startswith(f"{name}.") for name in consumer.sections)
            switches = key == consumer.name.partition("=")[0]  # the consumer itself, on or off
            if is_inside and not switches and key not in lacking and not consumer.is_there(settings):
                lacking[key] = consumer.name
    return lacking


def warn_of_unused(jobs: Iterable[Job]) -> None:
    """Log a line on overridden keys that none of the jobs uses, with what would use each."""
    lacking, used = dict[str, str](), set[str]()
    for job in jobs:
        if isinstance(job.settings, TrainSettings) and job.settings.composes_networks:
            ignored = unused(job.settings, job.overrides)
            lacking |= ignored
            used |= {override.lstrip("+").partition("=")[0] for override in job.overrides} - ignored.keys()
    idle = [f"{key} has no effect without {name}" for key, name in lacking.items() if key not in used]
    if idle:
        log.warning("; ".join(idle))


_COMMANDS: dict[str, Command] = {}  # of this process: Hydra makes the callbacks, and has no other way to hand it over


def begin(name: str) -> Command:
    """Begin a command, with nothing shared from earlier ones."""
    _COMMANDS[name] = Command(name)
    return _COMMANDS[name]


def current(name: str) -> Command:
    """The command that was begun in this process, or one for the jobs of this worker."""
    return _COMMANDS.get(name) or begin(name)
