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

log = logging.getLogger(__name__)


def given_network(model: Component, weights: Path | None, origin: Mapping[str, str]) -> Classifier:
    """Make the configured model with its own weights, or with another program's.

    Args:
        model: as configured.
        weights: the other program's checkpoint; None: the model's own weights.
        origin: hash of the file, as `checkpoint`.

    Raises:
        ValueError: the file does not fit to the model, or is another one by now.
    """
    if weights is None:
        return model.make()
    classifier = unread(model)
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


def _described(model: Component) -> Classifier:
    """The configured model on the meta device, without reading weights."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.nn\.modules\.")
        made: Classifier = model.make()
    return made
