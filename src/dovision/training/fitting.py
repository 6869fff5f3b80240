"""Fit a classifier and its autoencoder, and save them as checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers import Logger
from torch import nn

from dovision.config.component import Component, make_each
from dovision.config.settings import FitSettings, TrainingSettings, TrainSettings, to_dict
from dovision.identity.code import software
from dovision.identity.plans import callbacks_of_fit
from dovision.interfaces import Classifier, Images
from dovision.models import checkpoint
from dovision.models.conv_autoencoder import insert, inserted_autoencoder
from dovision.models.timm_model import PaddedConvolution
from dovision.training.augmentation import NoAugmentation
from dovision.training.autoencoder_module import CausalAutoencoder, SparseAutoencoder, logged_metrics, logged_terms
from dovision.training.checkpointing import Epochs, check_resumable
from dovision.training.data_module import ImageDataModule, check_fit
from dovision.training.fit_callbacks import best_by, make_callbacks
from dovision.training.fitted_module import FittedModule
from dovision.training.image_classifier import ImageClassifier
from dovision.training.schedule import Schedule
from dovision.training.trainer import limits, make_trainer

log = logging.getLogger(__name__)
_NARROW = 16  # channels that oneDNN takes at a time with AVX-512; 8 with AVX2


def fit_classifier(
    settings: TrainSettings, images: Images, path: Path, loggers: Sequence[Logger], start: Path | None = None
) -> None:
    """Fit the configured model to the training images, and write its checkpoint with its scores.

    Args:
        settings: of the job.
        images: whose training images it is fitted to.
        path: where the checkpoint goes.
        loggers: of the job.
        start: a checkpoint of Lightning from which the fit goes on; None: from its beginning.
    """
    network = laid_out(settings.model.make())
    module = classifier_module(settings.training, network)
    fit = settings.training.classifier
    if start is not None:
        check_resumable(start, module, fit.epochs)
    data = _data(settings, images, fit, _augmentation(settings))
    callbacks = callbacks_of_fit(settings.callbacks, monitors=True)
    record = _fit(settings, data, module, fit, path.parent, callbacks, start, loggers)
    network.task = module.fitted_task
    checkpoint.save_checkpoint(path, network, settings.model.record(), None, record)


def save_as_given(settings: TrainSettings, path: Path) -> None:
    """Write the checkpoint of the configured model with its initial weights, without scores."""
    record = {"fit": path.parent.name, "scores": {}, "limits": {}}
    checkpoint.save_checkpoint(path, laid_out(settings.model.make()), settings.model.record(), None, record)


def fit_autoencoder(
    settings: TrainSettings,
    images: Images,
    reference_classifier: Classifier,
    fitted: Path,
    path: Path,
    loggers: Sequence[Logger],
) -> None:
    """Insert and fit the configured autoencoder in a fitted classifier, and write a checkpoint of both.

    Args:
        settings: of the job.
        images: whose training images it is fitted to.
        reference_classifier: the classifier, whose answers are to be preserved.
        fitted: the classifier's checkpoint.
        path: where the checkpoint of both goes.
        loggers: of the curves.
    """
    configured = settings.code_of
    autoencoder = configured.make()
    with_autoencoder = laid_out(insert(reference_classifier, autoencoder, images.shape))
    module = autoencoder_module(settings.training, reference_classifier, with_autoencoder)
    data = _data(settings, images, settings.training.autoencoder, None)
    callbacks = callbacks_of_fit(settings.callbacks, monitors=False)
    record = _fit(settings, data, module, settings.training.autoencoder, path.parent, callbacks, None, loggers)
    autoencoder.after_fit()
    model = checkpoint.read_checkpoint(fitted)["model"]
    checkpoint.save_checkpoint(path, with_autoencoder, model, configured.record(), record)


def classifier_module(training: TrainingSettings, network: Classifier) -> ImageClassifier:
    """Make the LightningModule that trains a network."""
    fit = training.classifier
    return ImageClassifier(
        network,
        fit.optimizer.make(),
        make_schedule(fit),
        fit.warmup_steps,
        fit.loss.make(),
        make_each(fit.metrics),
        fit.frozen_epochs,
        None if fit.attack is None else fit.attack.make(),
    )


def autoencoder_module(
    training: TrainingSettings, reference_classifier: Classifier, with_autoencoder: Classifier
) -> CausalAutoencoder | SparseAutoencoder:
    """Make the LightningModule that trains the autoencoder in `with_autoencoder`, by its own loss if any."""
    fit = training.autoencoder
    if inserted_autoencoder(with_autoencoder).loss_terms:
        schedule = make_schedule(fit)
        return SparseAutoencoder(
            reference_classifier, with_autoencoder, fit.optimizer.make(), schedule, fit.warmup_steps
        )
    return CausalAutoencoder(
        reference_classifier,
        with_autoencoder,
        fit.optimizer.make(),
        fit.loss.make(),
        fit.zeroed_channel,
        make_schedule(fit),
        fit.warmup_steps,
    )


def autoencoder_logs(settings: TrainSettings) -> list[str]:
    """Names of the metrics that an autoencoder's fit logs."""
    autoencoder = None if settings.autoencoder is None else settings.autoencoder.make()
    if autoencoder is not None and autoencoder.loss_terms:
        return logged_metrics(autoencoder)
    return logged_terms(settings.training.autoencoder.loss.make())


def scored(fit: FitSettings, logged: Sequence[str]) -> list[str]:
    """Names of a fit's scores among its logged metrics; without epochs, those of validation only."""
    return [*(name for name in logged if fit.epochs or name.startswith("val_")), "epoch"]


def make_schedule(fit: FitSettings) -> Schedule | None:
    """Make the configured schedule; a bare torch scheduler is stepped once per epoch."""
    made = None if fit.scheduler is None else fit.scheduler.make()
    return made if made is None or isinstance(made, Schedule) else Schedule(made)


def laid_out(classifier: Classifier) -> Classifier:
    """Convert the classifier to channels last, which speeds up passes and gradients 1.1 to 1.5 times.

    One with a narrow 1 x 1 convolution that skips places keeps channels first: with channels last, oneDNN writes the
    gradient of its weights past their memory (oneDNN's issue 6035).
    """
    layout = torch.contiguous_format if any(map(_is_narrow, classifier.modules())) else torch.channels_last
    return classifier.to(memory_format=layout)  # type: ignore[call-overload]  # torch has it


def _is_narrow(module: nn.Module) -> bool:
    if not isinstance(module, (nn.Conv2d, PaddedConvolution)):
        return False
    skips = tuple(module.kernel_size) == (1, 1) and tuple(module.stride) != (1, 1)
    return skips and module.groups == 1 and 0 < module.in_channels < _NARROW  # a lazy layer has none yet


def _augmentation(settings: TrainSettings) -> Callable[..., Any] | None:
    transform = settings.augmentation.make()
    return None if isinstance(transform, NoAugmentation) else transform


def _data(
    settings: TrainSettings, images: Images, fit: FitSettings, augmentation: Callable[..., Any] | None
) -> ImageDataModule:
    check_fit(images)
    return ImageDataModule(
        images,
        train_batch_size=fit.batch_size,
        num_workers=settings.num_workers,
        seed=settings.seed,
        augmentation=augmentation,
    )


def _fit(
    settings: TrainSettings,
    data: ImageDataModule,
    module: FittedModule,
    fit: FitSettings,
    folder: Path,
    callbacks: Mapping[str, Component],
    start: Path | None,
    loggers: Sequence[Logger],
) -> dict[str, Any]:
    """Fit, load the best epoch's weights, and return its scores; without epochs, validate only."""
    module.save_hyperparameters({"training": to_dict(fit, record=True), "seed": settings.seed}, logger=False)
    made = make_callbacks(callbacks, folder, has_loggers=bool(loggers)).values()
    epochs = Epochs(folder, *best_by(made, module.best_by), software())
    one_device = {"devices": 1, "strategy": "auto"}  # the batch size, and so the numbers, stay as configured
    trainer = make_trainer(settings.trainer, [*made, epochs], loggers, max_epochs=fit.epochs, **one_device)
    if fit.epochs == 0:
        scores = {**trainer.validate(module, datamodule=data, verbose=False)[0], "epoch": 0}
    else:
        trainer.fit(module, datamodule=data, ckpt_path=epochs.last() or start)
        module.load_state_dict(epochs.best_weights)
        scores = epochs.best_scores
    record = {
        "fit": folder.name,
        "seed": settings.seed,
        "data": data.images.fingerprint,
        "limits": limits(settings.trainer),
    }
    return {**record, "scores": scores}
