"""What can be checked of a configuration before anything runs: its keys, and the values of all that is quickly made."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterator
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from dovision import checks
from dovision.configuration import configuration_folder
from dovision.contracts import CODE
from dovision.errors import readable
from dovision.inputs import sealed
from dovision.requirements import need_autoencoder, need_gradients, need_worlds
from dovision.session import make

CONTROLS = ("inserted", "plain")
ON_FAILURE = ("continue", "stop")
RERUN = ("failed", "all", "unfinished")
QUICK = (  # parts that cost nothing to make
    "intervention",
    "attack",
    "autoencoder",
    "training.autoencoder.loss",
    "reference",
    "explainer",
    "detector",
    "logger",
    "explanation",
    "detection.worlds",
)
WHOLE_NUMBERS = (
    "evaluation.batch_size",
    "evaluation.flush",
    "training.classifier.batch_size",
    "training.autoencoder.batch_size",
)
MAYBE_NUMBERS = ("evaluation.images", "detection.val_images", "detection.test_images", "threads")
COUNTS = ("seed", "num_workers", "evaluation.maps", "training.classifier.epochs", "training.autoencoder.epochs")
SWITCHES = ("evaluation.boxed", "evaluation.permuted_labels", "dry_run", "trust_checkpoint")


def check_keys(config: DictConfig, overrides: list[str]) -> None:
    """Refuse a key that nothing reads: unknown to its `_target_`, or added with `+` where there is none.

    Raises:
        ValueError: names the key, and the nearest known ones.
    """
    for where, node in _targets(config, ""):
        legal = _parameters(node["_target_"])
        for key in map(str, node):
            if legal is not None and not key.startswith("_") and key not in legal:
                raise ValueError(checks.unknown_key(where, key, readable(legal)))
    added = [override for override in overrides if override.startswith("+")]
    for override in OverridesParser.create().parse_overrides(added) if added else ():
        path = override.key_or_group
        if not override.is_add() or (configuration_folder() / path).is_dir():
            continue
        parent, _, key = path.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if "_target_" not in node:
            known = (str(name) for name in node if name != key)
            raise ValueError(checks.unknown_key(parent or "the configuration", key, readable(known)))


class Values:
    """Checks the values of configurations; a part that several of them share is made once."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}  # parts, or what they refuse to be made with, by their configuration

    def check(self, config: DictConfig) -> None:
        """Refuse values that a run would refuse as soon as it came to them.

        Raises:
            ValueError: names the key, the rule and what was got.
            FileNotFoundError: there is no such checkpoint.
        """
        for name in map(str, config):
            if name != "hydra" and OmegaConf.is_dict(config[name]):
                for key in OmegaConf.missing_keys(config[name]):
                    raise ValueError(f"{name}.{key} must be given, got nothing. Set {name}.{key}=...")
        _check_numbers(config)
        _check_choices(config)
        intervention, _, autoencoder, *_ = (self._make(config, name) for name in QUICK)
        if intervention.site == CODE:
            need_autoencoder(config)
        zeroed = config.training.autoencoder.zeroed_channel
        if autoencoder is not None and zeroed is not None:
            checks.channel("training.autoencoder.zeroed_channel", zeroed, autoencoder.code_channels)
        if config.detector:
            need_worlds(config)
        for file in (config.checkpoint, config.model.get("checkpoint_file")):
            if file is not None:
                sealed.require(file)

    def _make(self, config: DictConfig, name: str) -> Any:
        node = OmegaConf.select(config, name)
        key = json.dumps([name, OmegaConf.to_container(node, resolve=True) if node is not None else None])
        if key not in self._made:
            try:
                self._made[key] = make(node) if node is not None else None
            except ValueError as error:
                self._made[key] = error
        if isinstance(self._made[key], ValueError):
            raise self._made[key]
        return self._made[key]


def _check_numbers(config: DictConfig) -> None:
    for name in WHOLE_NUMBERS:
        checks.positive_int(name, OmegaConf.select(config, name))
    for name in MAYBE_NUMBERS:
        if OmegaConf.select(config, name) is not None:
            checks.positive_int(name, OmegaConf.select(config, name))
    for name in COUNTS:
        checks.count(name, OmegaConf.select(config, name))
    if config.evaluation.chunk != "auto":
        checks.positive_int("evaluation.chunk", config.evaluation.chunk)


def _check_choices(config: DictConfig) -> None:
    for name in SWITCHES:
        checks.switch(name, OmegaConf.select(config, name))
    checks.choice("evaluation.control", config.evaluation.control, CONTROLS)
    checks.choice("on_failure", config.on_failure, ON_FAILURE)
    if config.rerun is not None:
        checks.choice("rerun", config.rerun, RERUN)
    need_gradients(config)


def _targets(node: Any, where: str) -> Iterator[tuple[str, DictConfig]]:
    """Every part of the configuration that is made by a `_target_`, with its path."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return
    if "_target_" in node:
        yield where, node
    for key in map(str, node):
        if key != "hydra" and not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key):
            yield from _targets(node[key], f"{where}.{key}".lstrip("."))


@functools.cache
def _parameters(target: str) -> list[str] | None:
    """The arguments that a target takes by name; None if it takes any."""
    signature = inspect.signature(hydra.utils.get_object(target))
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else list(signature.parameters)
