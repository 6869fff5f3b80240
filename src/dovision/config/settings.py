"""Settings of every command: frozen objects whose fields declare type, bounds and choices of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    StrictStr,
    ValidationError,
    model_validator,
)

from dovision import checks
from dovision.config.component import Component
from dovision.config.errors import elsewhere, is_listed, readable
from dovision.config.inferred_settings import with_inferred_settings, with_wrapped_network
from dovision.config.sources import configuration_folder, leaves, recorded, resolved
from dovision.io.sealed import is_foreign

_MOST_WORKERS = 1024  # threads of a process, processes of a loader
_MISSING = "???"  # a value that must be given


class _Unchosen(ValueError):
    """A value is no component; its key says how to choose one."""


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"must name each once, got {list(names)!r}.")
    return names


def _images(value: Any) -> int | str:
    bounds = re.fullmatch(r"(\d{1,9}):(\d{1,9})", value) if isinstance(value, str) else None
    if isinstance(value, str) and (bounds is None or int(bounds[1]) >= int(bounds[2])):
        raise ValueError(
            f"must be a number of images, or a range start:stop with start below stop, got {value!r}. Write 1000:2000."
        )
    return value


def _epsilons(norm: str, may_be_empty: bool = False) -> PlainValidator:
    """Validator of epsilons of a norm."""
    return PlainValidator(lambda value: () if may_be_empty and value == [] else checks.epsilons(value, norm))


def _component(value: object) -> Component:
    if isinstance(value, Component):
        return value
    raise _Unchosen


Whole: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=checks.MOST_COUNT)]
ImageCount: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=checks.MOST_IMAGES)]
Seed: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)]
Threads: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=_MOST_WORKERS)]
Workers: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=_MOST_WORKERS)]
Count: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=checks.MOST_COUNT)]
Ratio: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Names: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_different)]
Chosen: TypeAlias = Annotated[Names, BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [])]
Folder: TypeAlias = Annotated[Path, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]
OneComponent: TypeAlias = Annotated[Component, PlainValidator(_component)]
ByName: TypeAlias = dict[str, OneComponent]  # the names are the user's to choose


class Section(BaseModel):
    """Group of settings; a field is a key, and its type validates the value."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class CommandSettings(Section):
    """Settings of every command."""

    _record: dict[str, Any] = PrivateAttr(default_factory=dict)

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

    fit: StrictBool
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
    name: str
    output_root: Folder
    checkpoint: Folder | None
    trust_checkpoint: StrictBool
    num_workers: Workers
    tags: Names
    rerun: Literal["all"] | None

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
            dataset_class = hydra.utils.get_object(self.dataset["_target_"])
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

    split: Literal["test", "val"]
    images: (
        Annotated[ImageCount | StrictStr, BeforeValidator(_images)] | None
    )  # the first ones, or a range as 1000:2000
    only_with_boxes: StrictBool
    batch_size: Whole  # images
    chunk: ImageCount | Literal["auto"]  # (image, unit) pairs, or auto
    reference: Literal["with_autoencoder", "without_autoencoder"]
    rows: Literal["all", "named", "none"]
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
    eps: Annotated[tuple[float, ...], _epsilons("linf")]  # one or several, pixel units
    l2: Annotated[tuple[float, ...], _epsilons("any", may_be_empty=True)]
    l1: Annotated[tuple[float, ...], _epsilons("any", may_be_empty=True)]
    spatial: Annotated[tuple[float, ...], _epsilons("any", may_be_empty=True)]
    steps: Whole
    restarts: Whole
    targets: Whole
    draws: Whole

    @property
    def budgets(self) -> dict[str, tuple[float, ...]]:
        """Epsilons by norm; norms without any are left out."""
        budgets = {"linf": self.eps, "l2": self.l2, "l1": self.l1, "spatial": self.spatial}
        return {norm: eps for norm, eps in budgets.items() if eps}


class DetectionSettings(Section):
    """Settings of detection: the attacks to be detected, and the images."""

    attacks: ByName
    families: dict[str, Chosen]
    seen: dict[str, Annotated[tuple[float, ...], _epsilons("any")]]
    controls: StrictBool
    reference: str | None
    val_images: ImageCount | None
    test_images: ImageCount | None
    attacked_share: dict[Literal["val", "test"], Annotated[float, Field(gt=0, le=1)]]
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
    refute: StrictBool
    note: str | None
    threads: Threads | None
    rerun: Literal["failed", "all", "unfinished", "none"] | None  # type: ignore[assignment]
    dry_run: StrictBool

    @model_validator(mode="after")
    def _need_what_measures(self) -> EvaluateSettings:
        if (precision := self.trainer.get("precision")) in ("bf16-true", "16-true"):
            raise ValueError(
                f"trainer.precision must be 32-true, 64-true or mixed to measure effects, got {precision}: in 16 bits "
                "most effects are rounding. Mixed precision concerns the fit alone."
            )
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
    figure_width: Annotated[float, Field(ge=3.25, le=6.75)]  # inches
    details: ImageCount | None  # runs
    formats: list[Literal["svg", "pdf", "png"]] | None


class VerifySettings(CommandSettings):
    """Settings of dovision-verify."""

    run: Folder
    share: Annotated[float, Field(ge=1e-6, le=1.0)]  # of the batches
    seed: Seed | None
    tolerance: Ratio
    attacked_tolerance: Ratio
    root: Folder | None
    trust_checkpoint: StrictBool


class ViewSettings(TrainSettings):
    """Settings of dovision-view."""

    run: Folder | None
    split: Literal["train", "val", "test"]
    host: str
    port: Annotated[int, Field(strict=True, ge=0, le=65535)]

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
    return f"{where} has no _target_, so that nothing reads it. {_choice(where)}, or remove it: '~{where}'."


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
    location = [str(name) for name in first["loc"] if name not in ("constrained-int", "str", "literal['auto']")]
    *parents, key = location or [""]
    where, got = ".".join([*parents, key]), first["input"]
    if first["type"] == "value_error":
        reason = first["ctx"]["error"]
        if isinstance(reason, _Unchosen):
            needs = f"{where} must be a component, got {got!r}. {_choice(where)}."
            return unchosen(where) if isinstance(got, Mapping) else needs
        text = str(reason)
        return f"{where} {text}" if text.startswith("must ") else f"{where}: {text}" if location else text
    if first["type"] == "extra_forbidden":
        more = [path for path in elsewhere(key, content) if path != where]
        return checks.unknown_key(".".join(parents) or "the configuration", key, _keys(model, parents), more)
    if first["type"] == "missing":
        return f"{where} must be there, got nothing. Give it a value instead of removing it."
    if first["type"] in ("model_type", "dict_type"):
        keys = ", ".join(_keys(model, location)) or "names"
        return f"{where} must have keys ({keys}), got {'nothing' if got is None else 'a value'}."
    in_words = f"keys: {', '.join(map(str, got))}" if isinstance(got, Mapping) else repr(got)
    choices = re.findall(r"'(\w+)'", first["msg"]) if first["type"] == "literal_error" else []
    remedy = checks.suggestion(str(got), choices)
    return f"{where}: {first['msg']}, got {in_words}.{remedy}"


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
