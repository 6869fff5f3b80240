"""Checks of a job before anything runs: its keys, and the values of all that is quickly made."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dovision import checks
from dovision.config import settings
from dovision.config.component import make_each
from dovision.config.settings import EvaluateSettings, TrainSettings
from dovision.functional.norms import condition_name
from dovision.identity.plans import reads_code
from dovision.interfaces import Attack
from dovision.io import sealed
from dovision.io.allocator import uncollected
from dovision.jobs.keys import check_choices, check_command, check_target, drop_unselected
from dovision.measurement.fit_protocol import conditions_of, fit_protocol, without_noise
from dovision.results.summary import CONDITION_METRICS
from dovision.results.tables import CLEAN

if TYPE_CHECKING:
    from dovision.jobs.components import Components

log = logging.getLogger(__name__)


class Consumer(NamedTuple):
    """User of configuration sections; without it, a job ignores them."""

    sections: tuple[str, ...]
    is_there: Callable[[Any], bool]  # of the settings
    name: str  # with the override that adds it


def _uses_code(settings: Any) -> bool:
    """Return whether a job needs an autoencoder's code; always in dovision-train."""
    return not isinstance(settings, EvaluateSettings) or reads_code(settings)


def _fits_classifier(settings: Any) -> bool:
    return settings.checkpoint is None


SWEEP = Consumer(("on_failure",), lambda settings: False, "a sweep (-m)")  # of a single job
CONSUMERS = (
    Consumer(
        ("autoencoder", "training.autoencoder"),
        _uses_code,
        "an intervention on an autoencoder's code (intervention=activation) or a detector that reads it",
    ),
    Consumer(
        ("evaluation.reference",),
        lambda settings: settings.intervention.make().on_code,
        "an intervention on an autoencoder's code (intervention=activation)",
    ),
    Consumer(
        ("training.autoencoder",),
        lambda settings: isinstance(settings, EvaluateSettings) or settings.autoencoder is not None,
        "autoencoder=NAME",
    ),
    Consumer(
        ("training.autoencoder.loss", "training.autoencoder.zeroed_channel"),
        lambda settings: settings.autoencoder is None or not settings.autoencoder.make().loss_terms,
        "an autoencoder without a loss of its own (autoencoder=conv_1x1)",
    ),
    Consumer(
        ("training",),
        lambda settings: (
            _fits_classifier(settings)
            or not settings.training.classifier.fit
            or (settings.autoencoder is not None and _uses_code(settings))
        ),
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
    Consumer(
        ("checkpoint_mapping",),
        lambda settings: settings.foreign_checkpoint is not None,
        "a checkpoint of another program (checkpoint=FILE)",
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


def unused(settings: TrainSettings, overrides: Iterable[str], mode: RunMode) -> dict[str, str]:
    """Overridden keys that a job ignores, with the consumer that each needs."""
    lacking = {}
    consumers = (*CONSUMERS, SWEEP) if mode == RunMode.RUN else CONSUMERS
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        section = key.rpartition("@")[2]
        for consumer in consumers:
            is_inside = any(f"{section}.".startswith(f"{name}.") for name in consumer.sections)
            switches = key == consumer.name.partition("=")[0]  # the consumer itself, on or off
            if is_inside and not switches and key not in lacking and not consumer.is_there(settings):
                lacking[key] = consumer.name
    return lacking


class Checks:
    """Checks of a job before it starts; shared components are made and checked once."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._unused: dict[str, str] = {}  # overridden keys that some job does not use, and what would use them
        self._used: set[str] = set()
        self._without_noise: dict[str, list[float]] = {}  # by attack

    def __call__(self, config: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any]) -> Any:
        """Validate a job and return its settings; raises if it would fail or ignore its command line."""
        job = self.read(config, overrides, choices)
        self.make(job)
        self.note_unused(job, config, overrides)
        return job

    def read(self, config: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any]) -> Any:
        """Validate the keys and values of a job, without Lightning, and return its settings.

        Raises:
            ValueError: names the key, the rule and what was got.
        """
        check_command(self._command, overrides)
        check_choices(self._command, config, overrides, choices)
        return settings.read(self._command, drop_unselected(self._command, config, overrides))

    def make(self, job: Any, here: bool = True) -> None:
        """Make the components of a job that is to be done, and check them.

        Without `here` the job runs on another machine, with other devices.

        Raises:
            ValueError: names the key, the rule and what was got.
            FileNotFoundError: there is no such file.
        """
        for component in settings.components(job):
            check_target(component.where, component)
        if isinstance(job, TrainSettings) and job.composes_networks:
            _check_autoencoder(job)
            _check_optimized(job)
            files = {"checkpoint": job.checkpoint, "ckpt_path": job.ckpt_path}
            for key, file in {**files, "model.checkpoint_file": job.model.get("checkpoint_file")}.items():
                try:
                    if file is not None:
                        sealed.require(file)
                except FileNotFoundError as error:
                    raise FileNotFoundError(f"{key}: {error}") from None
            if job.checkpoint_mapping is not None and not job.checkpoint_mapping.is_file():
                raise FileNotFoundError(f"checkpoint_mapping must be a file that exists, got {job.checkpoint_mapping}.")
            self._components.check(job, here)
            self._without_noise |= _epsilons_without_noise(job)

    def note_unused(self, job: Any, config: DictConfig, overrides: Sequence[str]) -> None:
        """Note which overridden keys a job uses, and which it ignores; see `read`."""
        if isinstance(job, TrainSettings) and job.composes_networks:
            lacking = unused(job, overrides, OmegaConf.select(config, "hydra.mode"))
            self._unused |= lacking
            self._used |= {override.lstrip("+").partition("=")[0] for override in overrides} - lacking.keys()

    @functools.cached_property
    def _components(self) -> Components:
        with uncollected():  # with Lightning, which neither a report nor a completed run waits for
            from dovision.jobs.components import Components

        return Components()

    def warn(self) -> None:
        """Log a line on overridden keys that no job uses, and one per attack whose noise is not measured."""
        idle = {key: name for key, name in self._unused.items() if key not in self._used}
        if idle:
            log.warning("; ".join(f"{key} has no effect without {name}" for key, name in idle.items()))
        for name, epsilons in self._without_noise.items():
            log.warning(
                "no noise of the norm and epsilon of %s at %s: no AUROC against noise there, nor of its whole family. "
                "Add the epsilon to the noise in detection.attacks",
                name,
                ", ".join(f"{value:g}" for value in epsilons),
            )


def _check_optimized(settings: TrainSettings) -> None:
    """Raise for a metric that an evaluation lacks; training metrics are checked with the fits."""
    if settings.optimized_metric is not None and isinstance(settings, EvaluateSettings):
        attack: Attack = settings.attack.make()
        conditions = [CLEAN, *map(condition_name, attack.eps)]
        names = [f"{metric}/{condition}" for metric in CONDITION_METRICS for condition in conditions]
        checks.choice("optimized_metric", settings.optimized_metric, names)


def _epsilons_without_noise(settings: TrainSettings) -> dict[str, list[float]]:
    """Epsilons of attacks to be detected whose noise is not measured; raises for attacks that no family can hold."""
    if not isinstance(settings, EvaluateSettings) or not settings.detector or not settings.detection.attacks:
        return {}
    detection = settings.detection
    attacks = conditions_of(make_each(detection.attacks))
    epsilons = {name: attack.eps for name, attack in attacks.items()}
    fit_protocol(epsilons, detection.families, detection.seen)
    return without_noise(epsilons, {name: attack.norm for name, attack in attacks.items()})


def _check_autoencoder(settings: TrainSettings) -> None:
    zeroed = settings.training.autoencoder.zeroed_channel
    if settings.autoencoder is not None and zeroed is not None:
        channels = settings.autoencoder.make().code_channels
        checks.channel("training.autoencoder.zeroed_channel", zeroed, channels)


_BEGUN: dict[str, Checks] = {}  # of this process, by command


def begin_checks(command: str) -> Checks:
    """Start new checks for a command's jobs, without caches of earlier commands."""
    _BEGUN[command] = Checks(command)
    return _BEGUN[command]


def checks_of(command: str) -> Checks:
    """Checks shared by the jobs of a command, in the launching process or in a worker."""
    return _BEGUN.get(command) or begin_checks(command)
