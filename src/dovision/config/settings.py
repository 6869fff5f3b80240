"""Settings of every command: frozen objects whose fields declare type, bounds and choices of each key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, PlainValidator, PrivateAttr, ValidationError, model_validator

from dovision import checks
from dovision.config.component import Component
from dovision.config.errors import elsewhere, is_listed, readable
from dovision.config.inferred_settings import with_inferred_settings, with_wrapped_network
from dovision.config.row_choices import ROW_CHOICES
from dovision.config.sources import configuration_folder, leaves, recorded, resolved
from dovision.io.sealed import is_foreign

WITHOUT_AUTOENCODER = "without_autoencoder"
MEASURING = ("effects", "maps", "detection")  # callbacks that an evaluation has, and completes
REFERENCES = ("with_autoencoder", WITHOUT_AUTOENCODER)  # controls of an intervention on a code
_NAME = "\N{REPLACEMENT CHARACTER}"  # placeholder of the key in the message of a check; a field does not know its key
_CHOOSE = "Choose what it is by its group (GROUP=NAME)"  # with the group that the key begins with
_UNCHOSEN = f"{_NAME} has no _target_, so that nothing reads it. {_CHOOSE}, or remove it: '~{_NAME}'."
_MOST_WORKERS = 1024  # threads of a process, processes of a loader
_MISSING = "???"  # a value that must be given


def _rule(check: Callable[..., Any], *arguments: Any) -> PlainValidator:
    """Validator of a field, from a check of a name and a value with these arguments."""

    def validated(value: Any) -> Any:
        if isinstance(value, Mapping):
            raise ValueError(f"{_NAME} takes a value, got keys: {', '.join(map(str, value))}.")
        return check(_NAME, value, *arguments)

    return PlainValidator(validated)


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} must be text, got {value!r}.")
    return str(value)


def _list_of(name: str, value: object, check: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list, got {value!r}.")
    if not value or len(set(value)) < len(value):
        raise ValueError(f"{name} must name different values, at least one, got {list(value)!r}.")
    return tuple(check(name, item, *arguments) for item in value)


def _lists_by_name(name: str, value: object, check: Callable[..., Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must have names as keys, each with a list, got {value!r}.")
    return {str(key): check(f"{name}.{key}", names) for key, names in value.items()}


def _different(name: str, value: Any) -> tuple[str, ...]:
    if len(set(names := checks.names(name, value))) < len(names):
        raise ValueError(f"{name} must name each once, got {list(names)!r}.")
    return names


def _one_or_several(name: str, value: Any) -> tuple[str, ...]:
    return _different(name, [value] if isinstance(value, str) else value or [])


def _epsilons(name: str, value: Any, norm: str = "linf") -> tuple[float, ...]:
    try:
        return checks.epsilons(value, norm)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _budgets(name: str, value: Any) -> tuple[float, ...]:
    """Epsilons of a norm that may have none."""
    return () if value == [] else _epsilons(name, value, "any")


def _auto_or_whole(name: str, value: object) -> int | str:
    return "auto" if value == "auto" else checks.positive_int(name, value, checks.MOST_IMAGES)


def _images(name: str, value: Any) -> int | str:
    if not isinstance(value, str):
        return checks.positive_int(name, value, checks.MOST_IMAGES)
    bounds = re.fullmatch(r"(\d{1,9}):(\d{1,9})", value)
    if bounds is None or int(bounds[1]) >= int(bounds[2]):
        raise ValueError(
            f"{name} must be a number of images, or a range start:stop with start below stop, got {value!r}. "
            "Write 1000:2000."
        )
    return value


def _component(value: object) -> Component:
    if isinstance(value, Component):
        return value
    if isinstance(value, Mapping):
        raise ValueError(_UNCHOSEN)
    raise ValueError(f"{_NAME} must be a component, got {value!r}. {_CHOOSE}.")


Whole: TypeAlias = Annotated[int, _rule(checks.positive_int)]
ImageCount: TypeAlias = Annotated[int, _rule(checks.positive_int, checks.MOST_IMAGES)]
Seed: TypeAlias = Annotated[int, _rule(checks.bounded, 0, 2**32 - 1)]
Threads: TypeAlias = Annotated[int, _rule(checks.bounded, 1, _MOST_WORKERS)]
Workers: TypeAlias = Annotated[int, _rule(checks.bounded, 0, _MOST_WORKERS)]
Count: TypeAlias = Annotated[int, _rule(checks.count)]
Switch: TypeAlias = Annotated[bool, _rule(checks.switch)]
Text: TypeAlias = Annotated[str, _rule(_text)]
Names: TypeAlias = Annotated[tuple[str, ...], _rule(_different)]
Chosen: TypeAlias = Annotated[tuple[str, ...], _rule(_one_or_several)]
Folder: TypeAlias = Annotated[Path, _rule(lambda name, value: Path(_text(name, value)))]
NamesByName: TypeAlias = Annotated[
    dict[str, tuple[str, ...]], PlainValidator(lambda value: _lists_by_name(_NAME, value, _one_or_several))
]
EpsilonsByName: TypeAlias = Annotated[
    dict[str, tuple[float, ...]],
    PlainValidator(lambda value: _lists_by_name(_NAME, value, lambda name, eps: _epsilons(name, eps, "any"))),
]
OneComponent: TypeAlias = Annotated[Component, PlainValidator(_component)]
ByName: TypeAlias = dict[str, OneComponent]  # the names are the user's to choose


class Section(BaseModel):
    """Group of settings; a field is a key, and its type validates the value."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CommandSettings(Section):
    """Settings of every command."""

    _record: dict[str, Any] = PrivateAttr(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert the settings to plain types."""
        return to_dict(self)

    def record(self) -> dict[str, Any]:
        """The configuration in plain types, without values of environment variables."""
        return self._record


class FitSettings(Section):
    """Settings of a network's fit."""

    optimizer: OneComponent
    scheduler: OneComponent | None
    warmup_steps: Count
    epochs: Count
    batch_size: Whole  # images


class ClassifierFitSettings(FitSettings):
    """Settings of the classifier's fit."""

    fit: Switch
    loss: OneComponent
    metrics: ByName
    frozen_epochs: Count
    attack: OneComponent | None


class AutoencoderFitSettings(FitSettings):
    """Settings of the autoencoder's fit."""

    loss: OneComponent
    zeroed_channel: Count | None


class TrainingSettings(Section):
    """Settings of the fits of classifier and autoencoder."""

    classifier: ClassifierFitSettings
    autoencoder: AutoencoderFitSettings


class SitesSettings(CommandSettings):
    """Settings of dovision-sites: the data and the networks."""

    dataset: OneComponent
    model: OneComponent
    autoencoder: OneComponent | None

    @property
    def is_foreign_model(self) -> bool:
        """True for a model that is not of this package."""
        return not self.model.get("network", self.model)["_target_"].startswith("dovision.")

    @property
    def code_of(self) -> Component:
        """Autoencoder of which a code is asked.

        Raises:
            ValueError: none is configured.
        """
        if self.autoencoder is None:
            raise ValueError(
                "an intervention on a code needs an autoencoder, got none. Choose one: autoencoder=conv_1x1."
            )
        return self.autoencoder


class TrainSettings(SitesSettings):
    """Settings of dovision-train: the data, the networks, how they are fitted, and where things go."""

    training: TrainingSettings
    augmentation: OneComponent
    callbacks: ByName
    trainer: OneComponent
    logger: ByName
    seed: Seed
    name: Text
    output_root: Folder
    checkpoint: Folder | None
    checkpoint_mapping: Folder | None
    trust_checkpoint: Switch
    num_workers: Workers
    tags: Names
    optimized_metric: Text | None
    print_config: Switch
    ckpt_path: Folder | None
    rerun: Annotated[str, _rule(checks.choice, ("all",))] | None

    @property
    def composes_networks(self) -> bool:
        """False if networks other than the configured ones are used."""
        return True

    @property
    def fits_classifier(self) -> bool:
        """False if the classifier keeps the model's weights: no fit is configured, or labels are missing."""
        return self.training.classifier.fit and self.has_labels

    @property
    def foreign_checkpoint(self) -> Path | None:
        """The checkpoint, if another program wrote it; its weights are loaded into the configured model."""
        return None if self.checkpoint is None or not is_foreign(self.checkpoint) else self.checkpoint

    @property
    def has_labels(self) -> bool:
        """False if the dataset has no labels, so that nothing can be fitted."""
        try:
            dataset_class = hydra.utils.get_class(self.dataset["_target_"])
            find = getattr(dataset_class, "found_labels", None)
            return bool(getattr(dataset_class, "labelled", True) if find is None else find(self.dataset))
        except Exception:  # a target that is no class, or cannot be imported: the component's own error reports it
            return True

    @model_validator(mode="after")
    def _need_gradients(self) -> TrainSettings:
        if self.trainer.get("inference_mode"):
            raise ValueError("trainer.inference_mode must be false, since attacks and gradient maps need gradients.")
        return self


class EvaluationSettings(Section):
    """Settings of the measured images and of their evaluation."""

    split: Annotated[str, _rule(checks.choice, ("test", "val"))]
    images: Annotated[int | str, _rule(_images)] | None  # the first ones, or a range as 1000:2000
    only_with_boxes: Switch
    batch_size: Whole  # images
    chunk: Annotated[int | str, _rule(_auto_or_whole)]  # (image, unit) pairs, or auto
    reference: Annotated[str, _rule(checks.choice, REFERENCES)]
    rows: Annotated[str, _rule(checks.choice, ROW_CHOICES)]
    checkpoint_every: ImageCount  # images
    num_thumbnails: Count

    @property
    def image_slice(self) -> slice:
        """Slice of the split's order that is measured."""
        return slice(*map(int, self.images.split(":"))) if isinstance(self.images, str) else slice(self.images)


class AdaptiveSettings(Section):
    """The attacker who knows the detector."""

    detectors: Names | None  # None: all
    images: ImageCount | None
    eps: Annotated[tuple[float, ...], _rule(_epsilons)]  # one or several, pixel units
    l2: Annotated[tuple[float, ...], _rule(_budgets)]
    l1: Annotated[tuple[float, ...], _rule(_budgets)]
    spatial: Annotated[tuple[float, ...], _rule(_budgets)]
    steps: Whole
    restarts: Whole
    targets: Whole
    draws: Whole
    source: Text | None

    @property
    def budgets(self) -> dict[str, tuple[float, ...]]:
        """Epsilons by norm; norms without any are left out."""
        budgets = {"linf": self.eps, "l2": self.l2, "l1": self.l1, "spatial": self.spatial}
        return {norm: eps for norm, eps in budgets.items() if eps}


class DetectionSettings(Section):
    """Settings of detection: the attacks to be detected, and the images."""

    attacks: ByName
    families: NamesByName
    seen: EpsilonsByName
    controls: Switch
    reference: Text | None
    val_images: ImageCount | None
    test_images: ImageCount | None
    workers: Threads
    adaptive: AdaptiveSettings


class EvaluateSettings(TrainSettings):
    """Settings of dovision-evaluate."""

    intervention: OneComponent
    attack: OneComponent
    explainer: ByName
    explanation: OneComponent
    detector: ByName
    detection: DetectionSettings
    evaluation: EvaluationSettings
    refute: Switch
    reported: OneComponent | None
    note: Text | None
    threads: Threads | None
    on_failure: Annotated[str, _rule(checks.choice, ("continue", "stop"))]
    rerun: Annotated[str, _rule(checks.choice, ("failed", "all", "unfinished", "none"))] | None
    dry_run: Switch

    @model_validator(mode="after")
    def _need_what_measures(self) -> EvaluateSettings:
        if (precision := self.trainer.get("precision")) in ("bf16-true", "16-true"):
            raise ValueError(
                f"trainer.precision must be 32-true, 64-true or mixed to measure effects, got {precision}: in 16 bits "
                "most effects are rounding. Mixed precision concerns the fit alone."
            )
        missing = [name for name in MEASURING if name not in self.callbacks]
        if missing:
            raise ValueError(f"callbacks must have {', '.join(MEASURING)}, got no {missing[0]}. Leave it in.")
        return self

    @model_validator(mode="after")
    def _need_attacks_and_detectors(self) -> EvaluateSettings:
        if self.detector and not self.detection.attacks:
            raise ValueError("detection needs attacks, got none. Add some: +attack@detection.attacks.pgd=pgd.")
        compared = self.explanation.get("reference")
        if self.explainer and compared is not None:
            checks.choice("explanation.reference", compared, self.explainer)
        if self.detector and self.detection.reference is not None:
            checks.choice("detection.reference", self.detection.reference, self.detector)
        for name in (self.detection.adaptive.detectors or ()) if self.detector else ():
            checks.choice("detection.adaptive.detectors", name, self.detector)
        if self.detector and self.detection.adaptive.source is not None:
            checks.choice("detection.adaptive.source", self.detection.adaptive.source, self.detector)
        return self

    @property
    def adaptively_attacked(self) -> tuple[str, ...]:
        """Names of the detectors that the adaptive attacker attacks."""
        named = self.detection.adaptive.detectors
        return tuple(self.detector) if named is None else named


class ReportSettings(CommandSettings):
    """Settings of dovision-report."""

    sweep: Folder
    output: Folder | None
    figure_width: Annotated[float, _rule(checks.within, 3.25, 6.75)]  # inches
    details: ImageCount | None  # runs
    refresh: ImageCount | None  # seconds
    formats: list[Annotated[str, _rule(checks.choice, ("svg", "pdf", "png"))]] | None
    log_to: Chosen  # components of the group logger


class VerifySettings(CommandSettings):
    """Settings of dovision-verify."""

    run: Folder
    share: Annotated[float, _rule(checks.within, 1e-6, 1.0)]  # of the batches
    seed: Seed | None
    tolerance: Annotated[float, _rule(checks.within, 0.0, 1.0)]
    attacked_tolerance: Annotated[float, _rule(checks.within, 0.0, 1.0)]
    root: Folder | None
    trust_checkpoint: Switch


class ViewSettings(TrainSettings):
    """Settings of dovision-view."""

    run: Folder | None
    state: Folder | None
    split: Annotated[str, _rule(checks.choice, ("train", "val", "test"))]
    host: Text
    port: Annotated[int, _rule(checks.bounded, 0, 65535)]

    @property
    def composes_networks(self) -> bool:
        return self.run is None


def example_photograph() -> Path:
    """Path of a photograph that scikit-learn ships."""
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "images" / "flower.jpg"


OF_COMMAND: Mapping[str, type[CommandSettings]] = {
    "evaluate": EvaluateSettings,
    "train": TrainSettings,
    "report": ReportSettings,
    "sites": SitesSettings,
    "verify": VerifySettings,
    "view": ViewSettings,
}


def of_experiments(command: str) -> set[str]:
    """Keys that only a command's experiments have; dovision-train takes only the networks of an experiment."""
    return set(EvaluateSettings.model_fields) - set(TrainSettings.model_fields) if command == "train" else set()


def read(command: str, config: DictConfig | dict[str, Any]) -> Any:
    """Validate the configuration of a command, composed or as a run has recorded it.

    Raises:
        ValueError: a key is unknown or missing, or a value is empty or not as its field declares; the error names it.
    """
    config = config if isinstance(config, DictConfig) else OmegaConf.create(config)
    dataset = config.get("dataset")
    if command == "view" and isinstance(dataset, DictConfig) and OmegaConf.is_missing(dataset, "root"):
        config = OmegaConf.merge(config, {"dataset": {"root": str(example_photograph())}})  # type: ignore[assignment]
    config, foreign = with_wrapped_network(with_inferred_settings(config)), of_experiments(command)
    content, record = resolved(config, foreign), recorded(config, foreign)
    model = OF_COMMAND[command]
    for key, value in leaves(content):
        if value == _MISSING:
            raise ValueError(f"{key} must be given, got nothing. Set {key}=...")
        if isinstance(value, str) and not value.strip():
            raise ValueError(f"{key} must not be empty. Give it a value, or leave it out.")
    try:
        settings = model.model_validate(_with_components(content, record, ""))
    except ValidationError as error:
        raise ValueError(_message(model, error, content)) from error
    settings._record = record
    return settings


def of_user(command: str) -> list[str]:
    """Groups of a command that take a list, whose components are named by the user."""
    return [name for name, field in OF_COMMAND[command].model_fields.items() if field.annotation == ByName]


def unchosen(where: str) -> str:
    """Error message that a node is not a component."""
    return _at(where, _UNCHOSEN)


def components(settings: Any) -> Iterator[Component]:
    """Iterate over the components of settings, without those nested in others."""
    if isinstance(settings, Component):
        yield settings
    elif isinstance(settings, BaseModel):
        for name in type(settings).model_fields:
            yield from components(getattr(settings, name))
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from components(value)


def to_dict(value: Any, record: bool = False) -> Any:
    """Convert a section, a component or a value to plain types; a record has no values of the environment."""
    if isinstance(value, BaseModel):
        return {name: to_dict(getattr(value, name), record) for name in type(value).model_fields}
    if isinstance(value, Component):
        return value.record() if record else dict(value)
    if isinstance(value, Mapping):
        return {name: to_dict(item, record) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _with_components(content: Any, record: Any, where: str) -> Any:
    """Replace each outermost mapping with a `_target_` by a Component."""
    if not isinstance(content, Mapping):
        return content
    record = record if isinstance(record, Mapping) else {}
    if "_target_" in content:
        return Component(where, content, record)
    return {
        key: _with_components(value, record.get(key), f"{where}.{key}".lstrip(".")) for key, value in content.items()
    }


def _message(model: type[Section], error: ValidationError, content: Mapping[str, Any]) -> str:
    """Sentence for the first of pydantic's errors."""
    first = error.errors()[0]
    *parents, key = map(str, first["loc"] or ("",))
    where = ".".join([*parents, key])
    if first["type"] == "value_error":
        return _at(where, str(first["ctx"]["error"]))
    if first["type"] == "extra_forbidden":
        more = [path for path in elsewhere(key, content) if path != where]
        return checks.unknown_key(".".join(parents) or "the configuration", key, _keys(model, parents), more)
    if first["type"] == "missing":
        return f"{where} must be there, got nothing. Give it a value instead of removing it."
    keys = ", ".join(_keys(model, [*parents, key])) or "names"
    return f"{where} must have keys ({keys}), got {'nothing' if first['input'] is None else 'a value'}."


def _at(where: str, message: str) -> str:
    return message.replace(_NAME, where).replace(_CHOOSE, _choice(where))


def _choice(where: str) -> str:
    """Remedy on how to choose the component at a path: by its group, or by `_target_` if it has no group."""
    top, _, below = where.partition(".")
    if below.startswith("attacks."):
        return f"Choose what it is by its group (attack@{where}=NAME)"
    if below.endswith(".scheduler"):
        return f"Choose what it is by its group (scheduler@{where}=NAME)"
    if is_listed(where):
        return f"Choose it by its group ({top}=[...,{below}])"
    if below or not (configuration_folder() / top).is_dir():
        return f"Give it a _target_ ({where}._target_=...)"
    return f"Choose what it is by its group ({top}=NAME)"


def _keys(model: type[BaseModel], where: list[str]) -> list[str]:
    """Keys of the section at a path; empty where the user chooses the names."""
    for name in where:
        inner = model.model_fields[name].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return readable(model.model_fields)
