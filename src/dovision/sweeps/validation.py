"""Checks of a job before anything runs: its keys, and the values of all that is quickly made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from dovision import checks
from dovision.config.instantiate import instantiate
from dovision.config.requirements import need_gradients
from dovision.evaluation.effects import REFERENCES
from dovision.io import sealed
from dovision.sweeps.components import Components
from dovision.sweeps.keys import check_choices, check_keys, declared
from dovision.types import CODE

log = logging.getLogger(__name__)
CHOICES = {
    "evaluation.reference": REFERENCES,
    "on_failure": ("continue", "stop"),
    "rerun": ("failed", "all", "unfinished"),  # or null
}
WHOLE_NUMBERS = (
    "evaluation.batch_size",
    "evaluation.checkpoint_every",
    "training.classifier.batch_size",
    "training.autoencoder.batch_size",
    "details",
)
MAYBE_NUMBERS = (
    "evaluation.images",
    "detection.val_images",
    "detection.test_images",
    "detection.adaptive.images",
    "threads",
)
COUNTS = (
    "seed",
    "num_workers",
    "evaluation.num_thumbnails",
    "training.classifier.epochs",
    "training.autoencoder.epochs",
)


class Consumer(NamedTuple):
    """What makes use of sections of a configuration; a job without it leaves them unread."""

    sections: tuple[str, ...]
    is_there: Callable[[DictConfig], bool]
    name: str  # with the override that adds it


def _uses_code(config: DictConfig) -> bool:
    """True if an evaluation needs the code of an autoencoder; dovision-train fits one for later evaluations."""
    if "intervention" not in config or instantiate(config.intervention).site == CODE:
        return True
    return any(detector.reads_code for detector in instantiate(config.detector).values())


def _fits_classifier(config: DictConfig) -> bool:
    permuted = "evaluation" in config and config.explainer and config.evaluation.permuted_labels
    return config.checkpoint is None or bool(permuted)


CONSUMERS = (
    Consumer(
        ("autoencoder", "training.autoencoder"),
        _uses_code,
        "an intervention on an autoencoder's code (intervention=latent_channel) or a detector that reads it",
    ),
    Consumer(
        ("evaluation.reference",),
        lambda config: instantiate(config.intervention).site == CODE,
        "an intervention on an autoencoder's code (intervention=latent_channel)",
    ),
    Consumer(
        ("training.autoencoder",),
        lambda config: "intervention" in config or config.autoencoder is not None,
        "autoencoder=NAME",
    ),
    Consumer(("training.classifier",), _fits_classifier, "a classifier to fit (checkpoint=null)"),
    Consumer(
        ("model",),
        lambda config: _fits_classifier(config) or not config.model._target_.startswith("dovision."),
        "a classifier to fit (checkpoint=null), since a checkpoint names its own model",
    ),
    Consumer(("trust_checkpoint",), lambda config: config.checkpoint is not None, "checkpoint=FILE"),
    Consumer(("on_failure",), lambda config: OmegaConf.select(config, "hydra.mode") != RunMode.RUN, "a sweep (-m)"),
    Consumer(
        ("explanation", "evaluation.permuted_labels"), lambda config: bool(config.explainer), "explainer=[NAME,...]"
    ),
    Consumer(
        ("evaluation.permuted_labels",),
        lambda config: config.explanation.num_sanity_images > 0,
        "explanation.num_sanity_images=NUMBER",
    ),
    Consumer(("detection",), lambda config: bool(config.detector), "detector=[NAME,...]"),
    Consumer(
        ("detection.adaptive",),
        lambda config: bool(config.detection.adaptive.detectors),
        "detection.adaptive.detectors=[NAME,...]",
    ),
    Consumer(
        ("evaluation.store_adversarial",),
        lambda config: bool(config.detector) or config.attack._target_ != "dovision.attacks.none.NoAttack",
        "attack=NAME or detector=[NAME,...]",
    ),
)


def unused(config: DictConfig, overrides: Iterable[str]) -> dict[str, str]:
    """The keys of overrides that a job does not use, with the consumer that each would need."""
    found = {}
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        section = key.rpartition("@")[2]
        for consumer in CONSUMERS:
            is_own = any(f"{section}.".startswith(f"{own}.") for own in consumer.sections)
            if is_own and key not in found and not consumer.is_there(config):
                found[key] = consumer.name
    return found


class Checks:
    """All that can be checked of a job before it starts; what several jobs share is made and checked once.

    Args:
        command: whose configuration declares the keys.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._components = Components()
        self._passed: set[str] = set()  # sections of which the keys are legal
        self._unused: dict[str, str] = {}  # overridden keys that some job does not use, and what would use them
        self._used: set[str] = set()

    def __call__(
        self, config: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], here: bool = True
    ) -> None:
        """Refuse a job that would fail, or that would not do what its command line says.

        Args:
            config: of the job.
            overrides: of its command line.
            choices: Hydra's record of the name that was chosen for each group.
            here: whether it runs on this machine, with its devices.

        Raises:
            ValueError: names the key, the rule and what was got.
            FileNotFoundError: there is no such file.
        """
        known = declared(self._command)
        check_choices(config, overrides, choices, known)
        check_keys(config, known, self._passed)
        _check_missing(config)
        _check_numbers(config)
        _check_choices(config)
        if "model" in config:
            _check_autoencoder(config)
            for key in ("checkpoint", "model.checkpoint_file"):
                if (file := OmegaConf.select(config, key)) is not None:
                    sealed.require(file)
            self._components.check(config, here)
            found = unused(config, overrides)
            self._unused |= found
            self._used |= {override.lstrip("+").partition("=")[0] for override in overrides} - found.keys()

    def warn_of_unused(self) -> None:
        """A line in the log that names the overridden keys that none of the jobs uses, if there are any."""
        idle = {key: name for key, name in self._unused.items() if key not in self._used}
        if idle:
            log.warning("; ".join(f"{key} has no effect without {name}" for key, name in idle.items()))


def _check_missing(config: DictConfig) -> None:
    """Refuse what must be given, and was not: a value that the yaml files write as ???."""
    own = {str(key): config._get_node(key) for key in config if key != "hydra"}
    for key in sorted(missing for name, node in own.items() for missing in _missing(node, name)):
        raise ValueError(f"{key} must be given, got nothing. Set {key}=...")


def _missing(node: Any, name: str) -> Iterator[str]:
    """The names of all values in a node that are missing."""
    if node._is_missing():
        yield name
    elif isinstance(node, DictConfig) and not node._is_interpolation() and not node._is_none():
        for key in node:
            yield from _missing(node._get_node(key), f"{name}.{key!s}")
    elif isinstance(node, ListConfig) and not node._is_interpolation() and not node._is_none():
        for number in range(len(node)):
            yield from _missing(node._get_node(number), f"{name}[{number}]")


def _check_numbers(config: DictConfig) -> None:
    """Numbers, of those sections that the command has."""
    for names, check in ((WHOLE_NUMBERS, checks.positive_int), (COUNTS, checks.count)):
        for name in _had(config, names):
            check(name, OmegaConf.select(config, name))
    for name in _had(config, MAYBE_NUMBERS):
        if OmegaConf.select(config, name) is not None:
            checks.positive_int(name, OmegaConf.select(config, name))
    if "evaluation" in config and config.evaluation.chunk != "auto":
        checks.positive_int("evaluation.chunk", config.evaluation.chunk)


def _check_autoencoder(config: DictConfig) -> None:
    zeroed = config.training.autoencoder.zeroed_channel
    if config.autoencoder is not None and zeroed is not None:
        autoencoder = instantiate(config.autoencoder)
        checks.channel("training.autoencoder.zeroed_channel", zeroed, autoencoder.code_channels)


def _check_choices(config: DictConfig) -> None:
    for name, options in CHOICES.items():
        for key in _had(config, (name,)):
            if OmegaConf.select(config, key) is not None:
                checks.choice(key, OmegaConf.select(config, key), options)
    if "trainer" in config:
        need_gradients(config)


def _had(config: DictConfig, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.partition(".")[0] in config]
