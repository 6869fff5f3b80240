"""Checks of jobs that fit no classifier, by choice or since their images have no labels."""

from __future__ import annotations

from collections.abc import Iterator

from dovision.config.component import make_each
from dovision.config.settings import EvaluateSettings, TrainSettings
from dovision.models.checkpoint import without_weights

_START = (
    "Choose pretrained weights (model=efficientnet_lite0, model.weights=DEFAULT of model=torchvision_model, "
    "model.pretrained=true of model=timm_model), or checkpoint=FILE"
)


def check_without_fit(settings: TrainSettings) -> None:
    """Refuse random weights that nothing would fit, and what needs labels that are not there.

    Raises:
        ValueError: names the key and the remedy.
    """
    if settings.checkpoint is None and not settings.fits_classifier:
        _check_start(settings)
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


def _check_start(settings: TrainSettings) -> None:
    """Refuse weights that are drawn at random; a model from outside this package is trusted to know its own."""
    why = "training=none" if settings.has_labels else "a dataset without labels"
    fit = ", or fit it: training=linear_probe" if settings.has_labels else ""
    name = settings.model["_target_"].rpartition(".")[2]
    if settings.model["_target_"].startswith("dovision.") and without_weights(settings.model) == dict(settings.model):
        raise ValueError(
            f"{why} needs a network whose weights are known, but {name} begins from random ones. {_START}{fit}."
        )
    if settings.model.get("new_head"):
        raise ValueError(
            f"{why} needs a network whose weights are known, but model.new_head=true draws the head of {name} at "
            f"random. Set model.new_head=false{fit}."
        )


def _needs(settings: TrainSettings) -> Iterator[str]:
    """What a job asks for that needs labels or validation images."""
    if not isinstance(settings, EvaluateSettings):
        if settings.autoencoder is not None:
            yield "autoencoder is fitted to training images"
        return
    if settings.evaluation.split != "test":
        yield f"evaluation.split={settings.evaluation.split} needs that split"
    if settings.detector:
        yield "detector is fitted to validation images and their labels"
    if settings.intervention.make().on_code or any(each.reads_code for each in make_each(settings.detector).values()):
        yield "an intervention on an autoencoder's code needs training images to fit the autoencoder to"
