"""Checks of jobs that fit no classifier, or its last layer alone, by choice or since their images have no labels."""

from __future__ import annotations

from collections.abc import Iterator

from dovision.config.component import make_each
from dovision.config.settings import EvaluateSettings, TrainSettings
from dovision.models.checkpoint import without_weights

_WEIGHTS = (
    "Choose pretrained weights (model=efficientnet_lite0, model.weights=DEFAULT or FILE of model=torchvision_model, "
    "model.pretrained=true of model=timm_model)"
)
_START = f"{_WEIGHTS}, or checkpoint=FILE"


def check_without_fit(settings: TrainSettings) -> None:
    """Raise for random weights that nothing fits, unless intended, and for missing labels.

    Raises:
        ValueError: names the key and the remedy.
    """
    if settings.checkpoint is None and not settings.fits_classifier:
        _check_start(settings)
    if settings.checkpoint is None and settings.fits_classifier and _is_random(settings):
        _check_fit(settings)
    if settings.foreign_checkpoint is not None and settings.model.get("new_head"):
        raise ValueError(
            "model.new_head=true draws a head, but checkpoint=FILE brings its own. Set model.new_head=false."
        )
    permutes = isinstance(settings, EvaluateSettings) and settings.explainer and settings.evaluation.permuted_labels
    if permutes and not settings.fits_classifier:
        raise ValueError("evaluation.permuted_labels needs a classifier to be fitted, and none is. Set it to false.")
    if not settings.has_labels:
        for what in _needs(settings):
            raise ValueError(
                f"{what}, and this dataset has no labels and the split test alone. Choose another dataset."
            )


def _is_random(settings: TrainSettings) -> bool:
    """Return whether a model starts from random weights; models outside this package are trusted."""
    model = settings.model
    return bool(model["_target_"].startswith("dovision.") and without_weights(model) == dict(model))


def _check_fit(settings: TrainSettings) -> None:
    """Raise for a fit meant to continue from weights that are random."""
    name, fit = settings.model["_target_"].rpartition(".")[2], settings.training.classifier
    if settings.model.get("new_head"):
        raise ValueError(
            f"model.new_head=true needs weights to start from, but {name} begins from random ones. {_WEIGHTS}, or "
            "leave new_head out."
        )
    if fit.frozen_epochs >= fit.epochs > 1:  # one epoch is a trial, also of a fit that goes on to the other layers
        raise ValueError(
            f"training.classifier.frozen_epochs={fit.frozen_epochs} of {fit.epochs} epochs (training=linear_probe) "
            f"fits the last layer alone, but {name} begins from random weights, which would stay. {_WEIGHTS}, or fit "
            "all of them: training=default."
        )


def _check_start(settings: TrainSettings) -> None:
    """Raise for random weights."""
    why = "training=none" if settings.has_labels else "a dataset without labels"
    fit = ", or fit it: training=linear_probe" if settings.has_labels else ""
    name = settings.model["_target_"].rpartition(".")[2]
    if _is_random(settings):
        raise ValueError(
            f"{why} needs a network whose weights are known, but {name} begins from random ones. {_START}{fit}."
        )
    if settings.model.get("new_head"):
        raise ValueError(
            f"{why} needs a network whose weights are known, but model.new_head=true draws the head of {name} at "
            f"random. Set model.new_head=false{fit}."
        )


def _needs(settings: TrainSettings) -> Iterator[str]:
    """Parts of a job that need labels or validation images."""
    if not isinstance(settings, EvaluateSettings):
        if settings.autoencoder is not None:
            yield "autoencoder is fitted to training images"
        return
    if settings.evaluation.split != "test":
        yield f"evaluation.split={settings.evaluation.split} needs that split"
    if settings.detector:
        yield "detector is fitted to validation images and their labels"
    if settings.intervention.make().on_code or any(
        detector.reads_code for detector in make_each(settings.detector).values()
    ):
        yield "an intervention on an autoencoder's code needs training images to fit the autoencoder to"
