"""Overridden keys that a job ignores, since the user of their section is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dovision.config.settings import TrainSettings
from dovision.identity.dependencies import reads_code


class Consumer(NamedTuple):
    """User of configuration sections; without it, a job ignores them."""

    sections: tuple[str, ...]
    is_there: Callable[[Any], bool]  # of the settings
    name: str  # with the override that adds it


def _fits_classifier(settings: Any) -> bool:
    return settings.checkpoint is None


CONSUMERS = (
    Consumer(
        ("autoencoder", "training.autoencoder"),
        reads_code,
        "an autoencoder (autoencoder=NAME) and, in an evaluation, what reads its code (intervention=activation)",
    ),
    Consumer(
        ("training",),
        lambda settings: _fits_classifier(settings) or not settings.training.classifier.fit or reads_code(settings),
        "a classifier to fit (checkpoint=null; model.weights=FILE goes on from a file)",
    ),
    Consumer(("training.classifier", "augmentation"), _fits_classifier, "a classifier to fit (checkpoint=null)"),
    Consumer(
        ("model",),
        lambda settings: (
            _fits_classifier(settings) or settings.foreign_checkpoint is not None or settings.is_foreign_model
        ),
        "a classifier to fit (checkpoint=null), since a checkpoint names its own model",
    ),
    Consumer(("trust_checkpoint",), lambda settings: settings.checkpoint is not None, "checkpoint=FILE"),
    Consumer(("explanation",), lambda settings: bool(settings.explainer), "explainer=[NAME,...]"),
    Consumer(("detection",), lambda settings: bool(settings.detector), "detector=[NAME,...]"),
    Consumer(
        ("detection.adaptive",),
        lambda settings: bool(settings.adaptively_attacked),
        "detection.adaptive.detectors=[NAME,...]",
    ),
)


def unused(settings: TrainSettings, overrides: Iterable[str]) -> dict[str, str]:
    """Overridden keys that a job ignores, with the consumer that each needs."""
    lacking = {}
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        section = key.rpartition("@")[2]
        for consumer in CONSUMERS:
            is_inside = any(f"{section}.".startswith(f"{name}.") for name in consumer.sections)
            switches = key == consumer.name.partition("=")[0]  # the consumer itself, on or off
            if is_inside and not switches and key not in lacking and not consumer.is_there(settings):
                lacking[key] = consumer.name
    return lacking
