"""Checkpoints of weights that another program wrote."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from dovision.config.component import Component
from dovision.config.settings import TrainSettings
from dovision.identity.plans import FOREIGN_WEIGHTS
from dovision.interfaces import Classifier
from dovision.io import files
from dovision.models import checkpoint
from dovision.models._foreign_weights import kept_head, matched
from dovision.models.hf_model import ChosenLogits
from dovision.training.fitting import laid_out

log = logging.getLogger(__name__)


def save_foreign(settings: TrainSettings, path: Path, origin: Mapping[str, str]) -> None:
    """Write the checkpoint of the configured model with another program's weights, without scores.

    Args:
        settings: of the job, which names their file and the mapping of its names.
        path: where the checkpoint goes.
        origin: hashes of both.

    Raises:
        ValueError: the file does not fit to the model, the order of its head is not known, or the file is another one
            by now.
    """
    assert settings.foreign_checkpoint is not None
    classifier = unread(settings.model)
    check_order(settings.model, classifier)
    state, steps = matched(settings.foreign_checkpoint, classifier.network.state_dict(), settings.checkpoint_mapping)
    named = {"checkpoint": settings.checkpoint, "checkpoint_mapping": settings.checkpoint_mapping}
    if {name: files.sha256(file) for name, file in named.items() if file is not None} != origin:
        raise ValueError(f"{settings.foreign_checkpoint} must stay as it is while it is read. Run the command again.")
    classifier.network.load_state_dict(state)
    steps.append(kept_head(classifier.task.classes))
    log.info("%s: %s", settings.foreign_checkpoint, "; ".join(steps))
    record = {"fit": path.parent.name, "scores": {}, "limits": {}, FOREIGN_WEIGHTS: dict(origin)}
    checkpoint.save_checkpoint(path, laid_out(classifier), settings.model.record(), None, record)


def unread(model: Component) -> Classifier:
    """The configured model with its weights' classes and normalisation, but random numbers."""
    if checkpoint.without_start(dict(model)) == dict(model):
        return model.make()
    described = _described(model)
    arguments = {**checkpoint.without_start(dict(model)), **described.arguments}
    classifier: Classifier = Component(model.where, arguments).make()
    classifier.task = described.task
    return classifier


def check_order(model: Component, classifier: Classifier) -> None:
    """Raise for classes in another order than the weights of the model have.

    The outputs of such weights are found by name, but a file has no names: its head may be in either order.

    Args:
        model: as configured.
        classifier: what it makes, perhaps without numbers.

    Raises:
        ValueError: names the first class out of order, and the remedies.
    """
    start = [name for name, value in checkpoint.without_start(dict(model)).items() if value != model[name]]
    if not start or isinstance(classifier.output, ChosenLogits):  # which reads a head of all outputs by their names
        return
    try:
        of_weights = _described(model.replaced(task=None, classes=None)).task.classes
    except ValueError:  # the weights name no classes
        return
    classes = classifier.task.classes
    ordered = [name for name in of_weights if name in set(classes)]
    differing = [pair for pair in zip(classes, ordered, strict=False) if pair[0] != pair[1]]
    if len(ordered) == len(classes) and differing:
        first, expected = differing[0]
        given = "false" if isinstance(model[start[0]], bool) else "null"
        raise ValueError(
            f"dataset.classes must be in the order of model.{start[0]}, since checkpoint=FILE brings its own head, "
            f"but has {first!r} where these weights have {expected!r}. Put them into that order; or, if they are in "
            f"the order of the file, set model.{start[0]}={given} and the normalisation that it was fitted with."
        )


def _described(model: Component) -> Classifier:
    """The configured model on the meta device, without reading weights."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.nn\.modules\.")
        made: Classifier = model.make()
    return made
