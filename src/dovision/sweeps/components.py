"""The components of a job, made and checked before it starts: against each other, and against the network's shapes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from dovision.config.errors import named
from dovision.config.instantiate import instantiate
from dovision.config.requirements import need_attacks, need_detectors, need_epochs
from dovision.evaluation.adaptive_attack import Adaptive
from dovision.evaluation.explanation_config import MapSettings
from dovision.interfaces import Attack, Classifier, Detector, Explainer, Intervention
from dovision.module_state import evaluating
from dovision.propagation import check_layout
from dovision.propagation.plain import Plain
from dovision.propagation.sites import site_module
from dovision.runtime.process_state import isolated
from dovision.sweeps.meta_networks import Networks
from dovision.training.trainer import make_trainer
from dovision.types import CODE, INPUT, Shape

COSTLY = ("dataset", "model", "trainer")  # sections that are made in other ways


class Components:
    """Checks of all parts that a job is made of; what several jobs share is made and checked once."""

    def __init__(self) -> None:
        self._networks = Networks()
        self._checked: dict[str, Exception | None] = {}

    def check(self, config: DictConfig, here: bool) -> None:
        """Refuse what a job would refuse once it came to it.

        Args:
            config: of a job that has a dataset and a model.
            here: whether the job runs on this machine, with its devices.

        Raises:
            ValueError: names the component, the rule and what was got.
            FileNotFoundError: there is no such file.
        """
        content = {str(key): _plain(config[key]) for key in config if key != "hydra"}
        self._once(["dataset", content["dataset"]], lambda: _check_dataset(config.dataset))
        if here:
            self._once(["trainer", content["trainer"]], lambda: _check_trainer(config))
        if config.dataset.classes is None:  # which the dataset refuses, since it knows them
            return
        facts = [content["dataset"][name] for name in ("task", "classes", "shape")]
        network = [content["model"], _file(config.checkpoint), facts]
        self._once(network, lambda: self._networks.plain(config))
        network.append(content["autoencoder"])
        for where, part in _tops(content, ""):
            self._once([where, part, network], functools.partial(self._check_all, where, config, network))
        if content["autoencoder"] is not None and "intervention" not in content:  # dovision-train fits it in any case
            self._once(["with_autoencoder", network], lambda: self._networks.with_autoencoder(config))
        if "detection" in content:
            need_epochs(config)
            self._once(["detection", content["detection"], content["detector"]], lambda: _check_detection(config))

    def _once(self, key: Any, check: Callable[[], object]) -> None:
        written = json.dumps(key)
        if written not in self._checked:
            try:
                check()
                self._checked[written] = None
            except (ValueError, OSError) as error:
                self._checked[written] = error
        if (refused := self._checked[written]) is not None:
            raise refused

    def _check_all(self, where: str, config: DictConfig, network: Any) -> None:
        """A component, and those that it is made of, which others may be made of as well."""
        for inner, part in _targets(OmegaConf.select(config, where), where):
            check = functools.partial(self._check, inner, part, config)
            try:
                self._once(["component", _plain(part), network], check)
            except ValueError as error:
                raise ValueError(named(inner, str(error))) from error

    def _check(self, where: str, node: DictConfig, config: DictConfig) -> None:
        made, shape = instantiate(node), tuple(config.dataset.shape)
        if isinstance(made, Intervention):
            on_code = made.site == CODE
            _check_intervention(
                made, (self._networks.with_autoencoder if on_code else self._networks.plain)(config), shape
            )
        elif isinstance(made, (Attack, Explainer, Detector, MapSettings)):
            made.check(self._networks.plain(config), shape)
        elif where.endswith(".optimizer"):
            _check_optimizer(made)


def _check_trainer(config: DictConfig) -> None:
    """Make the trainer, which looks for the devices; what it sets of torch is put back."""
    with isolated(config.seed, None):
        make_trainer(config, [])


def _check_dataset(node: DictConfig) -> None:
    """Make what is quickly made: a dataset without files, or one that refuses a folder that is not there."""
    if node.classes is not None and not OmegaConf.is_list(node.classes):
        raise ValueError(f"dataset.classes must be a list of names, such as [cat,dog], got {node.classes!r}.")
    if "root" not in node or not (node.get("download") or Path(node.root).is_dir()):
        instantiate(node)


@torch.no_grad()
def _check_intervention(intervention: Intervention, classifier: Classifier, shape: Shape) -> None:
    """Refuse a site that the network does not have, and units that its value does not have."""
    check_layout(classifier, intervention, shape)
    site = site_module(classifier, intervention.site)
    with evaluating(classifier):
        value = Plain(classifier, site).clean(torch.zeros(1, *shape, device=classifier.mean.device)).site
    if type(intervention).bind is Intervention.bind:  # others learn their units from the images
        inside = tuple(value.shape[1:])
        units = intervention.units(inside)
        for unit in (0, len(units) - 1) if units and intervention.site == INPUT else ():
            intervention.region(inside, unit, 0)


def _check_optimizer(partial: Any) -> None:
    try:
        partial([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(error).splitlines()[0]}.") from error


def _check_detection(config: DictConfig) -> None:
    if not config.detector:
        return
    need_attacks(config)
    need_detectors(config)
    own = config.detection.adaptive
    detector: Detector = instantiate(next(iter(config.detector.values())))
    try:
        for strength in own.strengths:
            Adaptive(own.eps, own.steps, strength, False, detector, None, config.seed)
    except ValueError as error:
        raise ValueError(f"detection.adaptive: {error}") from error


def _tops(content: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The outermost sections with a `_target_`, with their paths."""
    for key, value in content.items():
        path = f"{where}.{key}".lstrip(".")
        if isinstance(value, Mapping) and "_target_" in value and path not in COSTLY:
            yield path, value
        elif isinstance(value, Mapping) and path not in COSTLY:
            yield from _tops(value, path)


def _targets(node: Any, where: str) -> Iterator[tuple[str, DictConfig]]:
    """A node with a `_target_`, and all such nodes inside, with their paths."""
    if OmegaConf.is_dict(node) and "_target_" in node:
        yield where, node
    for key in node if OmegaConf.is_dict(node) else range(len(node)):
        if not OmegaConf.is_interpolation(node, key) and isinstance(node[key], (DictConfig, ListConfig)):
            yield from _targets(node[key], f"{where}.{key}")


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _file(path: str | None) -> list[Any]:
    """Size and times of a file, which differ once another one has been put into its place."""
    return [] if path is None else [path, Path(path).stat().st_mtime_ns, Path(path).stat().st_size]
