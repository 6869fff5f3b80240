"""Checkpoints of weights that another program wrote."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from dovision.config.component import Component
from dovision.interfaces import Classifier
from dovision.io import files
from dovision.models import checkpoint
from dovision.models._foreign_weights import kept_head, matched
from dovision.models.hf_model import ChosenLogits

log = logging.getLogger(__name__)


def given_network(model: Component, weights: Path | None, origin: Mapping[str, str]) -> Classifier:
    """Make the configured model with its own weights, or with another program's.

    Args:
        model: as configured.
        weights: the other program's checkpoint; None: the model's own weights.
        origin: hash of the file, as `checkpoint`.

    Raises:
        ValueError: the file does not fit to the model, the order of its head is not known, or the file is another one
            by now.
    """
    if weights is None:
        return model.make()
    classifier = unread(model)
    check_order(model, classifier)
    state, steps = matched(weights, classifier.network.state_dict())
    if {"checkpoint": files.sha256(weights)} != origin:
        raise ValueError(f"{weights} must stay as it is while it is read. Run the command again.")
    classifier.network.load_state_dict(state)
    steps.append(kept_head(classifier.task.classes))
    log.info("%s: %s", weights, "; ".join(steps))
    return classifier


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
