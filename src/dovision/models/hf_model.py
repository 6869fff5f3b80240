"""Any image classifier of Hugging Face's transformers, from the hub or from a folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dovision import checks
from dovision.functional.class_names import class_positions
from dovision.interfaces import Classifier
from dovision.models._published import (
    WeightsMetadata,
    distinct,
    fetching,
    has_numbers,
    preprocessing,
    stated_or_own,
    with_arguments,
)
from dovision.types import Preprocessing, Shape, Task

NOT_PLAIN = ("auto_map", "attn_implementation", "quantization_config")  # of a configuration: they may name code to run
_PATH_STARTS = (".", "/", "~")  # of a folder; no name on the hub has one
_REMEDY = "Fetch it where there is a network (hf download NAME --local-dir FOLDER), and name the folder: model.source."


def hf_model(
    source: str | None,
    pretrained: bool,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    revision: str | None = None,
    new_head: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Classifier:
    """An AutoModelForImageClassification as a classifier. Needs the extra hf.

    A checkpoint of it keeps the network's configuration, so that it is rebuilt without hub and folder.

    Args:
        source: a name on the Hugging Face hub, or a folder that `save_pretrained` has written, its image processor
            included. None: `config` is given.
        pretrained: start from the weights there. Their head must know the classes by name (id2label), and is read in
            the order of `classes`; random weights have a head for the classes.
        shape: (C, H, W) of the images; C may be 1, which the network sees as equal channels.
        task, classes: as of `dovision.models`; both None: as the model's configuration names its labels.
        mean, std: as of `dovision.models`; None: as the image processor of `source` normalises.
        revision: of a name on the hub: a branch, a tag or a commit. None: main.
        new_head: start from the weights, but for the head, which is initialised for the classes.
        config: the network's configuration in plain types, in place of that of `source`.

    Raises:
        ValueError: the model classifies no images, or other classes; its weights have no head; its image processor does
            something else than scaling and normalising pixels.
        ConnectionError: the files are not on this machine, and cannot be downloaded.

    Example:
        >>> dv.hf_model(None, False, (3, 32, 32), "multiclass", ["a", "b"])
        Traceback (most recent call last):
            ...
        ValueError: model.source must be a name on the Hugging Face hub, or a folder, got null.
    """
    library = checks.import_extra("transformers", "hf")
    if source is not None and source.startswith(_PATH_STARTS) and not Path(source).expanduser().is_dir():
        raise ValueError(f"model.source must be a folder that exists, or a name on the hub, but there is no {source}.")
    files = {"revision": revision or "main", "trust_remote_code": False}
    if config is not None:
        model_config = library.AutoConfig.for_model(**_without_code(config))
    elif source is None:
        raise ValueError("model.source must be a name on the Hugging Face hub, or a folder, got null.")
    else:
        with fetching(f"of {source}", source, _REMEDY):
            model_config = library.AutoConfig.from_pretrained(source, **files)
            if mean is None or std is None:
                mean, std = processor_scale(library.AutoImageProcessor.from_pretrained(source, **files), source)
    if mean is None or std is None:
        raise ValueError("model.mean and model.std must be given where a configuration is, got null.")
    _check_kind(library, model_config, shape)
    labels = _labels(model_config)
    labelled = None if _nameless(labels) else Task(_task_name(model_config), distinct(labels))
    stated = stated_or_own(str(source), task, classes, labelled)
    if classes is None:
        model_config = _labelled(model_config, stated.classes)  # some labels may have had one name
    classes = stated.classes
    fresh = config is None and (new_head or not pretrained)
    if fresh:
        model_config = _labelled(model_config, classes)
    rows = _rows(_labels(model_config), classes)
    if pretrained and has_numbers():
        with fetching(f"of {source}", str(source), _REMEDY):
            network = _trained(library, model_config, source, files, new_head)
    else:
        network = _made(library, model_config)
    output = None if rows == list(range(len(model_config.id2label))) else ChosenLogits(rows)
    return with_arguments(
        Classifier(network, stated, mean, std, output),
        pretrained,
        config=_without_code(json.loads(model_config.to_json_string(use_diff=False))),
        mean=list(mean),
        std=list(std),
        revision=getattr(model_config, "_commit_hash", None) or revision,
    )


def _preprocessing(settings: Mapping[str, Any]) -> Preprocessing | None:
    """Preprocessing of the images that the chosen weights were trained on; None if unknown."""
    library = checks.import_extra("transformers", "hf")
    source, files = settings["source"], {"revision": settings["revision"] or "main", "trust_remote_code": False}
    with fetching(f"of {source}", source, _REMEDY):
        size = getattr(library.AutoConfig.from_pretrained(source, **files), "image_size", None)
    processed = None
    if settings.get("pretrained"):
        with suppress(OSError, ValueError):  # none beside the weights, whose mean and std are given then
            processed = geometry(library.AutoImageProcessor.from_pretrained(source, **files))
    if processed is None or size not in (None, processed.pixels):
        return Preprocessing(size) if isinstance(size, int) else None
    return processed


hf_model.preprocessing = _preprocessing  # type: ignore[attr-defined]


def hf_metadata(network: nn.Module, processor: Any, scaled: bool) -> WeightsMetadata:
    """Metadata of a transformers network: its configuration, and its image processor.

    Args:
        network: with a `config`.
        processor: None: the one beside the weights; random ones have none, and the size of their images alone.
        scaled: mean and std are needed.

    Raises:
        ValueError: mean and std are needed, but no processor is beside the weights, or one that does something else
            than scaling and normalising pixels.
    """
    config: Any = network.config
    if processor is None and scaled:
        processor = _processor_of(config._name_or_path)
    labels, size = _labels(config), getattr(config, "image_size", None)
    classes = len(labels) if _nameless(labels) else distinct(labels)
    if processor is None:
        trained = Preprocessing(size) if isinstance(size, int) else None
        return WeightsMetadata(classes, _task_name(config), None, None, trained)
    mean, std = processor_scale(processor, type(network).__name__) if scaled else (None, None)
    return WeightsMetadata(classes, _task_name(config), mean, std, geometry(processor))


def _task_name(config: Any) -> str:
    return "multilabel" if config.problem_type == "multi_label_classification" else "multiclass"


def _processor_of(source: str) -> Any:
    """The image processor beside weights; None for random weights.

    Raises:
        ValueError: there is none on this machine.
    """
    try:
        library = checks.import_extra("transformers", "hf")
        files = {"local_files_only": True, "trust_remote_code": False}
        return library.AutoImageProcessor.from_pretrained(source, **files) if source else None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the mean and std of {source} must be known, but no image processor is beside its weights, or one "
            "with code. Give processor=AutoImageProcessor.from_pretrained(...), or mean and std."
        ) from error


def geometry(processor: Any) -> Preprocessing | None:
    """Preprocessing by an image processor, found by what becomes of an image that holds its rows and columns.

    Processors keep it in various settings, some in their code. None where it does not give squares of one size.
    """
    if not getattr(processor, "do_resize", False):
        return None
    row, column = np.indices((256, 320))
    ramps = np.stack([column * (255 / 319), row, column * (255 / 319)], -1)
    images = [image.astype(np.uint8) for image in (np.zeros_like(ramps), np.full_like(ramps, 255), ramps)]
    black, white, value = processor(images, return_tensors="pt")["pixel_values"].double()
    pixels = value.shape[1]
    if value.shape[2] != pixels:
        return None
    value = (value - black) / (white - black) * 255
    inner = np.arange(pixels // 8, pixels - pixels // 8)  # antialiasing bends the ends
    down, across = (float(np.polyfit(inner, ramp[inner], 1)[0]) for ramp in (value[1].mean(1), value[0].mean(0)))
    across *= 319 / 255  # columns of the image a column, as down is rows a row
    mode = "cover" if abs(down / across - 1) < 0.1 else "stretch"
    return preprocessing(pixels, round(256 / down), "bilinear" if processor.resample == 2 else "bicubic", mode)


class ChosenLogits:
    """Selection of a network's logits by number."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = list(numbers)

    def __call__(self, value: Any) -> Tensor:
        return value.logits[:, self.numbers]


def _labels(config: Any) -> list[str]:
    """Labels of a configuration in the order of the outputs, in which its file need not have them."""
    return [config.id2label[number] for number in sorted(config.id2label)]


def _nameless(labels: Sequence[str]) -> bool:
    return list(labels) == [f"LABEL_{number}" for number in range(len(labels))]


def _without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration without keys that may name code."""
    return {name: value for name, value in config.items() if name.lstrip("_") not in NOT_PLAIN}


def _check_kind(library: ModuleType, config: Any, shape: Shape) -> None:
    """Raise unless the model classifies images with this number of channels."""
    model_type = config.model_type
    if model_type == "timm_wrapper":
        raise ValueError(f"model.source is a network of timm, {config.architecture}. Choose model=timm_model for it.")
    if type(config) not in library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise ValueError(f"model.source must be a classifier of images, got one of the kind {model_type}.")
    channels = getattr(config, "num_channels", 3)
    if shape[0] not in (1, channels):
        raise ValueError(
            f"{model_type} takes images of 1 or {channels} channels, got shape {list(shape)}. Set dataset.shape."
        )


def _labelled(config: Any, classes: Sequence[str]) -> Any:
    """Configuration of the same network with one output per class."""
    config = copy.deepcopy(config)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: number for number, name in enumerate(classes)}
    return config


def _rows(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Output of each class by the head's labels, as of `class_positions`; in order if these are numbers, as LABEL_0."""
    if list(labels) == list(classes) or (_nameless(labels) and len(labels) == len(classes)):
        return list(range(len(classes)))
    rows = []
    for name, row in zip(classes, class_positions(classes, labels), strict=True):
        if row is None:
            near = checks.suggestion(name, labels) or f" Its labels are: {checks.listed(list(labels))}."
            raise ValueError(
                f"the model's head must have each class once among its {len(labels)} labels, got {labels.count(name)} "
                f"of {name!r}.{near} Name them in dataset.classes, or fit a new head: model.new_head=true."
            )
        rows.append(row)
    return rows


def _made(library: ModuleType, config: Any) -> nn.Module:
    """Make the network with random weights."""
    config.architectures = config.architectures or []
    return library.AutoModelForImageClassification.from_config(config, trust_remote_code=False)


def _trained(
    library: ModuleType, config: Any, source: str | None, files: Mapping[str, Any], new_head: bool
) -> nn.Module:
    """Load the network with the weights of `source`, and a new head if the classes differ."""
    head = _head(library, config) if new_head else set()
    network, report = library.AutoModelForImageClassification.from_pretrained(
        source, config=config, dtype=torch.float32, ignore_mismatched_sizes=new_head, output_loading_info=True, **files
    )
    if missing := sorted(set(report["missing_keys"]) - head):
        raise ValueError(
            f"the weights of {source} must be those of a classifier, but {checks.listed(missing)} are not among them. "
            "Fit a new head: model.new_head=true."
        )
    random = _made(library, config).state_dict() if head else {}
    network.load_state_dict({name: random[name] for name in head}, strict=False)
    return network


def _head(library: ModuleType, config: Any) -> set[str]:
    """Names of tensors whose shape depends on the number of classes."""
    more = _labelled(config, [*config.id2label.values(), "one more"])
    with torch.device("meta"):
        tensors, other = (_made(library, each_config).state_dict() for each_config in (config, more))
    return {name for name, tensor in tensors.items() if tensor.shape != other[name].shape}


def processor_scale(processor: Any, source: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of an image processor, in pixel units."""
    for fact in ("rescale_offset", "do_flip_channel_order"):
        if getattr(processor, fact, False):
            raise ValueError(
                f"the image processor of {source} must scale and normalise pixels alone, but has {fact}. "
                "Give model.mean and model.std."
            )
    unit = 255 * processor.rescale_factor if processor.do_rescale else 255  # in its scale, what is 1 in pixel units
    normalises = getattr(processor, "do_normalize", False)
    mean, std = (processor.image_mean, processor.image_std) if normalises else ([0.0], [1.0])
    twice = getattr(processor, "include_top", False)  # EfficientNet's is divided by the standard deviation twice
    return [value / unit for value in mean], [(value**2 if twice else value) / unit for value in std]
