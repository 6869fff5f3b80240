"""Checks of a job before anything runs: its keys, and the values of all that is quickly made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from dovision import checks
from dovision.config.instantiate import instantiate
from dovision.config.requirements import need_gradients
from dovision.evaluation.callbacks import AUTOENCODER_CONTROLS
from dovision.io import sealed
from dovision.sweeps.components import Components
from dovision.sweeps.keys import check_choices, check_keys, declared

CHOICES = {
    "evaluation.control": AUTOENCODER_CONTROLS,
    "on_failure": ("continue", "stop"),
    "rerun": ("failed", "all", "unfinished"),  # or null
}
WHOLE_NUMBERS = (
    "evaluation.batch_size",
    "evaluation.flush",
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
COUNTS = ("seed", "num_workers", "evaluation.maps", "training.classifier.epochs", "training.autoencoder.epochs")


class Checks:
    """All that can be checked of a job before it starts; what several jobs share is made and checked once.

    Args:
        command: whose configuration declares the keys.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._components = Components()
        self._passed: set[str] = set()  # sections of which the keys are legal

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
