"""The networks of jobs before any is fitted: names, shapes and sites are known without weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from dovision.config.component import Component
from dovision.config.settings import SitesSettings, TrainSettings
from dovision.identity.digests import stat_files
from dovision.interfaces import Classifier
from dovision.models import checkpoint
from dovision.models._foreign_weights import matched
from dovision.models.conv_autoencoder import insert
from dovision.module_state import evaluating
from dovision.training.foreign import check_order
from dovision.training.model_cache import check_fits, read_model
from dovision.types import Shape, Task


def network_key(settings: SitesSettings) -> list[Any]:
    """Everything that the network of a job depends on."""
    key = ["meta network", *(settings.dataset[name] for name in ("task", "classes", "shape"))]
    if not isinstance(settings, TrainSettings) or settings.checkpoint is None:
        return [*key, dict(settings.model)]
    key += [str(settings.checkpoint), stat_files([settings.checkpoint]).digest]
    given = settings.foreign_checkpoint is None
    return key if given else [*key, dict(settings.model)]


def meta_classifier(settings: SitesSettings) -> Classifier:
    """Classifier of a job on the meta device, run once on a blank image.

    A network that asks for numbers while it is made or run, such as torchvision's RegNet, is made with random weights
    on the processor instead.

    Raises:
        ValueError: there is no such network; it does not take the dataset's images, or has other outputs than the
            dataset has classes; the checkpoint is of another dataset.
        FileNotFoundError: there is no such checkpoint.
    """
    if not isinstance(settings, TrainSettings) or settings.checkpoint is None:
        return _unfitted(settings)
    if settings.foreign_checkpoint is None:
        return _fitted(settings, settings.checkpoint)
    classifier = _unfitted(settings)
    check_order(settings.model, classifier)
    matched(settings.foreign_checkpoint, classifier.network.state_dict())
    return classifier


def with_autoencoder(settings: SitesSettings, classifier: Classifier) -> Classifier:
    """The `meta_classifier` of these settings with their autoencoder.

    Raises:
        ValueError: none is configured, or it does not fit to the layer that it is to stand behind.
    """
    with torch.device(classifier.mean.device):
        return insert(classifier, settings.code_of.make(), tuple(settings.dataset["shape"]))


def _unfitted(settings: SitesSettings) -> Classifier:
    """The configured model before any fit."""
    classifier, logits = _tried(settings)
    expected = (1, len(classifier.task.classes if (named := settings.dataset["classes"]) is None else named))
    got = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
    if got != f"shape {expected}":
        raise ValueError(
            f"model must give a logit for each of the dataset's {expected[1]} classes, shape {expected} for one image, "
            f"got {got}. Set model.classes, or choose another model."
        )
    return classifier


def _tried(settings: SitesSettings) -> tuple[Classifier, Any]:
    """Make the configured model and run it on a blank image."""
    shape = tuple(settings.dataset["shape"])
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.nn\.modules\.")
            classifier: Classifier = settings.model.make()
        return classifier, _output(classifier, shape)
    except Exception as error:  # whatever a network raises that asks for numbers; what it refuses itself is final
        if isinstance(error.__cause__, (ValueError, OSError, ImportError)):
            raise
    classifier = Component(settings.model.where, checkpoint.without_weights(dict(settings.model))).make()
    try:
        return classifier, _output(classifier, shape)
    except Exception as error:
        raise ValueError(
            f"model must take the dataset's images, of shape {list(shape)}, but it raises: "
            f"{str(error).strip().splitlines()[0].rstrip('.')}. "
            "Set dataset.shape or model.output, or choose another model."
        ) from error


@torch.no_grad()
def _output(classifier: Classifier, shape: Shape) -> Any:
    with evaluating(classifier):
        return classifier(classifier.mean.new_zeros(1, *shape))


def _fitted(settings: TrainSettings, file: Path) -> Classifier:
    """Classifier of the checkpoint; raises unless it fits this dataset."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.nn\.modules\.")
        model = read_model(file, settings)
    named = settings.dataset["classes"]
    task = model.classifier.task if named is None else Task(settings.dataset["task"], tuple(named))
    check_fits(model, task, tuple(settings.dataset["shape"]))
    return model.classifier
