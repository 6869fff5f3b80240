"""A classifier from a torch module, by the metadata of its weights where nothing is given."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchvision.models import WeightsEnum

from dovision import checks
from dovision.functional.outputs import Reading
from dovision.interfaces import Classifier
from dovision.models._published import WeightsMetadata
from dovision.models.hf_model import hf_metadata
from dovision.models.timm_model import timm_metadata
from dovision.models.torchvision_model import torchvision_metadata
from dovision.types import Shape, Task

log = logging.getLogger(__name__)


def from_function(
    network: Any,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: str | Sequence[int] | Reading | None = None,
) -> Classifier:
    """Wrap what a user's own function returns with the dataset's classes, or return a classifier as it is.

    Args:
        network: what the function has returned.
        shape, task, classes: of the dataset.
        mean, std, output: as of `wrapped`.

    Raises:
        ValueError: it is no torch module, or neither the dataset nor the network names classes.
    """
    if isinstance(network, Classifier):
        return network
    checks.instance("model", network, nn.Module, "a function that returns a torch module, or a Classifier")
    return wrapped(network, classes, mean, std, task, output)


def wrapped(
    network: nn.Module,
    classes: Sequence[str] | int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    task: str | None,
    output: str | Sequence[int] | Reading | None,
    weights: WeightsEnum | None = None,
    processor: Any = None,
) -> Classifier:
    """Wrap a torch module; arguments and errors as of `dovision.api.wrap`."""
    stated = _metadata(network, weights, processor, mean is None or std is None)
    classes = stated.classes if classes is None else classes
    if classes is None:
        raise ValueError(
            "classes must be the names of the network's outputs, or their number, got None. Give weights=, such as "
            "ResNet18_Weights.IMAGENET1K_V1, with a network of torchvision."
        )
    mean, std = stated.mean if mean is None else mean, stated.std if std is None else std
    unknown = [f"{name}=" for name, value in (("mean", mean), ("std", std)) if value is None]
    normalises = any(hasattr(module, "mean") and hasattr(module, "std") for module in network.modules())
    if unknown and not normalises:
        log.warning(
            "%s of %s are not known: it sees images in [0, 1] without them. Give those of its training (weights= of "
            "torchvision and processor= of transformers have them).",
            " and ".join(unknown),
            type(network).__name__,
        )
    mean, std = (0.0,) if mean is None else mean, (1.0,) if std is None else std
    classifier = Classifier(network, named_task(classes, task or stated.task), mean, std, output)
    if normalises and classifier.mean.any():
        log.warning("%s normalises images twice: by mean and std, and inside. Leave these out.", type(network).__name__)
    classifier.preprocessing = stated.preprocessing
    classifier.training = network.training  # libraries ask the outermost module alone whether it is in eval mode
    return classifier


def named_task(classes: Sequence[str] | int, task: str | None) -> Task:
    """Task of the classes; a single name is a label by itself, and a single output without a name is of two classes."""
    names = class_names(classes)
    if isinstance(classes, int):
        return Task(task or "multiclass", class_names(2) if len(names) == 1 and task != "multilabel" else names)
    return Task(task or ("multilabel" if len(names) == 1 else "multiclass"), names)


def class_names(classes: Sequence[str] | int) -> tuple[str, ...]:
    """Names of classes, which are their numbers if these alone are known."""
    if isinstance(classes, int):
        return tuple(map(str, range(checks.positive_int("classes", classes))))
    return checks.names("classes", classes)


def _metadata(network: nn.Module, weights: WeightsEnum | None, processor: Any, scaled: bool) -> WeightsMetadata:
    """Metadata of the weights, by whichever library they are of; mean and std only if they are needed, `scaled`."""
    if weights is not None:
        return torchvision_metadata(checks.instance("weights", weights, WeightsEnum, "torchvision's, an enum's member"))
    if isinstance(getattr(network, "pretrained_cfg", None), Mapping):
        return timm_metadata(network)
    if processor is not None or isinstance(getattr(getattr(network, "config", None), "id2label", None), Mapping):
        return hf_metadata(network, processor, scaled)
    return WeightsMetadata()
