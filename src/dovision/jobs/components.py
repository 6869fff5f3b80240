"""The components of a job, made and checked before it starts: against each other, and against the network's shapes."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Checkpoint, DeviceStatsMonitor, LearningRateMonitor

from dovision.config.component import Component, make_each
from dovision.config.errors import named
from dovision.config.settings import EvaluateSettings, TrainSettings, components, to_dict
from dovision.functional.rng import generator
from dovision.identity.dependencies import reads_code
from dovision.interfaces import Attack, Classifier, Context, Detector, Explainer, Intervention
from dovision.io import sealed
from dovision.io.process_state import isolated
from dovision.jobs.meta_networks import meta_classifier, network_key, with_autoencoder
from dovision.measurement.by_name import named_components, one_component
from dovision.measurement.explanation_config import MapSettings
from dovision.measurement.fit_protocol import conditions_of, fit_protocol
from dovision.models.checkpoint import without_weights
from dovision.module_state import evaluating
from dovision.propagation import presented_site
from dovision.propagation.edits import all_pairs
from dovision.propagation.whole_passes import Shortened, WholePasses
from dovision.report.loggers import check_logger
from dovision.training.augmentation import Augmentation
from dovision.training.fitted_module import FittedModule
from dovision.training.fitting import autoencoder_module, classifier_module
from dovision.training.schedule import check_monitor
from dovision.training.trainer import make_trainer
from dovision.types import INPUT, Batch, Shape

_DRAWS = 8  # of an augmentation, of which one at least should leave [0, 1] if any does
COSTLY = ("dataset", "model", "trainer")  # sections that are made in other ways
_WEIGHTS = (
    "Choose pretrained weights (model=efficientnet_lite0, model.weights=DEFAULT or FILE of model=torchvision_model, "
    "model.pretrained=true of model=timm_model)"
)
_START = f"{_WEIGHTS}, or checkpoint=FILE"


class Components:
    """Checks of all components of a job; shared ones are made and checked once."""

    def __init__(self) -> None:
        self._checked: dict[str, Any] = {}  # what was made, or the error

    def check(self, settings: TrainSettings, here: bool) -> None:
        """Raise what the job would raise later.

        Without `here` the job runs on another machine, with other devices.

        Raises:
            ValueError: names the component, the rule and what was got.
            FileNotFoundError: there is no such file.
        """
        _check_files(settings)
        dataset, content = settings.dataset, to_dict(settings)
        self._once(["dataset", content["dataset"]], lambda: _check_dataset(dataset))
        if here:
            self._once(["trainer", content["trainer"]], lambda: _check_trainer(settings))
        if (
            dataset["classes"] is not None or not settings.has_labels
        ):  # else the dataset refuses it, since it knows them
            self._check_networks(settings, content)
        if isinstance(settings, EvaluateSettings) and settings.detector:
            detection = settings.detection
            attacks = conditions_of(named_components("attack", make_each(detection.attacks)))
            fit_protocol({name: attack.eps for name, attack in attacks.items()}, detection.families, detection.seen)

    def _check_networks(self, settings: TrainSettings, content: Mapping[str, Any]) -> None:
        _check_weights(settings)
        _check_labels(settings)
        network = network_key(settings)
        classifier: Classifier = self._once(network, lambda: meta_classifier(settings))
        with_code_key = [*network, content["autoencoder"]]

        def with_code() -> Classifier:
            made: Classifier = self._once(
                ["with_autoencoder", *with_code_key], lambda: with_autoencoder(settings, classifier)
            )
            return made

        def check(component: Component) -> None:
            for nested in _components_inside(dict(component), component.where):
                try:
                    key = ["component", _group(nested), dict(nested), with_code_key]
                    self._once(key, functools.partial(_check, nested, settings, classifier, with_code))
                except ValueError as error:
                    raise ValueError(named(nested.where, str(error))) from error

        for component in components(settings):
            if component.where not in COSTLY:
                self._once([component.where, dict(component), with_code_key], functools.partial(check, component))
        fitted = [content["training"], content["callbacks"], bool(settings.logger), reads_code(settings)]
        self._once(["fits", with_code_key, fitted], lambda: _check_fits(settings, classifier, with_code))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return the result of `make`, or raise its error, which is asked for once per key of plain types."""
        written = json.dumps(key)
        if written not in self._checked:
            try:
                self._checked[written] = make()
            except (ValueError, OSError) as error:
                self._checked[written] = error
        if isinstance(result := self._checked[written], Exception):
            raise result
        return result


def _check(
    component: Component, settings: TrainSettings, classifier: Classifier, with_code: Callable[[], Classifier]
) -> None:
    """Make a component and check it against the network, or the one with its autoencoder."""
    if component.where.startswith("logger."):
        check_logger(component)
        return
    made, shape = component.make(), tuple(settings.dataset["shape"])
    if (group := _group(component)) in ("attack", "detector", "explainer", "intervention"):
        made = one_component(group, made)
    if isinstance(made, Intervention):
        _check_intervention(made, with_code() if made.on_code else classifier, shape)
    elif isinstance(made, (Attack, Explainer, Detector, MapSettings)):
        made.check(classifier, shape)
    elif isinstance(made, Checkpoint):
        raise ValueError("a callback must not save epochs, since the best one is the fitted model. Leave it out.")
    elif component.where.endswith(".optimizer"):
        try:
            made([torch.nn.Parameter(torch.zeros(1))])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{str(error).splitlines()[0]}.") from error
    elif component.where == "augmentation":
        augmentation, noise = Augmentation(made, settings.seed), torch.rand(shape, generator=generator(0))
        for epoch in range(_DRAWS):
            augmentation(noise, epoch, 0)


def _check_trainer(settings: TrainSettings) -> None:
    """Make the trainer, which checks the devices, and restore torch's settings."""
    with isolated(settings.seed, None):
        make_trainer(settings.trainer, [])


def _check_dataset(dataset: Component) -> None:
    """Make datasets that need no files, or whose folder is missing, to raise their errors early."""
    if dataset["classes"] is not None and not isinstance(dataset["classes"], list):
        raise ValueError(f"dataset.classes must be a list of names, such as [cat,dog], got {dataset['classes']!r}.")
    root = dataset.get("root")
    if not (isinstance(root, str) and Path(root).is_dir()):
        dataset.make()


@torch.no_grad()
def _check_intervention(intervention: Intervention, classifier: Classifier, shape: Shape) -> None:
    """Raise if the network lacks the sites, or their values lack the units."""
    if intervention.second is not None:
        _check_intervention(intervention.second, classifier, shape)
    site = presented_site(classifier, intervention, shape)
    image = classifier.mean.new_zeros(1, *shape)
    engine = (Shortened if intervention.shortens else WholePasses)(classifier, site)
    with evaluating(classifier):
        clean = engine.clean(image)
    value = clean.site
    if intervention.unit is not None or type(intervention).bind is Intervention.bind:  # others learn units from images
        inside = tuple(value.shape[1:])
        units = intervention.units(inside)
        for unit in (0, len(units) - 1) if units and intervention.site == INPUT else ():
            box = intervention.checked_box(intervention.region, inside, unit, 0)
            intervention.checked_mask(inside, unit, 0, box)
        if intervention.shortens:
            number = torch.zeros(1, dtype=torch.int64)
            with evaluating(classifier):
                for pairs in all_pairs(intervention, units, [0], inside):
                    context = Context(Batch(image, number, number, number), classifier)
                    engine.treated(clean, pairs, intervention, context)


def _check_fits(settings: TrainSettings, classifier: Classifier, with_code: Callable[[], Classifier]) -> None:
    """Make the modules of the fits, to raise for what the networks lack, and for names that no fit logs."""
    training, modules = settings.training, dict[str, FittedModule]()
    if settings.checkpoint is not None or settings.fits_classifier:
        try:
            modules["classifier"] = classifier_module(training.classifier, classifier)
        except ValueError as error:
            raise ValueError(named("training.classifier", str(error))) from error
        _check_callbacks(settings, modules["classifier"].logged)
    if reads_code(settings):  # a copy, since a fit of the autoencoder freezes the classifier
        modules["autoencoder"] = autoencoder_module(training.autoencoder, copy.deepcopy(classifier), with_code())
    for network, module in modules.items():
        if module.schedule is not None:
            module.schedule.check(f"training.{network}.scheduler", module.logged)
            try:
                module.schedule.of(module.optimizer([torch.nn.Parameter(torch.zeros(1))]))
            except (TypeError, ValueError) as error:
                raise ValueError(f"training.{network}.scheduler: {str(error).splitlines()[0]}.") from error


def _check_callbacks(settings: TrainSettings, logged: Collection[str]) -> None:
    """Raise for callbacks that lack a logger, or monitor what is not logged."""
    for name, made in make_each(settings.callbacks).items():
        if isinstance(made, (DeviceStatsMonitor, LearningRateMonitor)) and not settings.logger:
            raise ValueError(f"callbacks.{name} needs a logger, got none. Leave it out, or add one: logger=csv.")
        if getattr(made, "monitor", None) is not None:
            check_monitor(f"callbacks.{name}", made.monitor, logged)


def _check_weights(settings: TrainSettings) -> None:
    """Raise for random weights that nothing fits, or of which a part would stay.

    Raises:
        ValueError: names the key and the remedy.
    """
    name, fit = settings.model["_target_"].rpartition(".")[2], settings.training.classifier
    new_head = settings.model.get("new_head")
    is_random = not settings.is_foreign_model and without_weights(settings.model) == dict(settings.model)
    if settings.foreign_checkpoint is not None and new_head:
        raise ValueError(
            "model.new_head=true draws a head, but checkpoint=FILE brings its own. Set model.new_head=false."
        )
    if settings.checkpoint is not None or not (is_random or new_head):
        return
    if not settings.fits_classifier:
        why = "training=none" if settings.has_labels else "a dataset without labels"
        probe = ", or fit it: training=linear_probe" if settings.has_labels else ""
        end = f"{name} begins from random ones. {_START}{probe}."
        if not is_random:
            end = f"model.new_head=true draws the head of {name} at random. Set model.new_head=false{probe}."
        raise ValueError(f"{why} needs a network whose weights are known, but {end}")
    if is_random and new_head:
        raise ValueError(
            f"model.new_head=true needs weights to start from, but {name} begins from random ones. {_WEIGHTS}, or "
            "leave new_head out."
        )
    if is_random and fit.frozen_epochs >= fit.epochs > 1:  # one epoch is a trial, also of a fit that goes on
        raise ValueError(
            f"training.classifier.frozen_epochs={fit.frozen_epochs} of {fit.epochs} epochs (training=linear_probe) "
            f"fits the last layer alone, but {name} begins from random weights, which would stay. {_WEIGHTS}, or fit "
            "all of them: training=default."
        )


def _check_labels(settings: TrainSettings) -> None:
    """Raise for a job that needs labels or validation images of a dataset without labels."""
    need = ""
    if not isinstance(settings, EvaluateSettings):
        need = "autoencoder is fitted to training images" if settings.autoencoder is not None else ""
    elif settings.evaluation.split != "test":
        need = f"evaluation.split={settings.evaluation.split} needs that split"
    elif settings.detector:
        need = "detector is fitted to validation images and their labels"
    elif reads_code(settings):
        need = "an intervention on an autoencoder's code needs training images to fit the autoencoder to"
    if need and not settings.has_labels:
        raise ValueError(f"{need}, and this dataset has no labels and the split test alone. Choose another dataset.")


def _check_files(settings: TrainSettings) -> None:
    """Raise for files that are not there, by their keys."""
    paths = {"checkpoint": settings.checkpoint, "model.checkpoint_file": settings.model.get("checkpoint_file")}
    for key, file in paths.items():
        try:
            if file is not None:
                sealed.require(file)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{key}: {error}") from None


def _group(component: Component) -> str:
    """Group of a component, which decides what it must be; of others the key of its section."""
    lists = {"detection.attacks": "attack", "detector": "detector", "explainer": "explainer"}
    return lists.get(component.where.rpartition(".")[0], component.where)


def _components_inside(node: Any, where: str) -> Iterator[Component]:
    """The component of a node, and those nested in it."""
    if isinstance(node, Mapping) and "_target_" in node:
        yield Component(where, node)
    inner = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from _components_inside(value, f"{where}.{key}")
