"""The command dovision-train: fit the classifier, and the autoencoder if one is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers import Logger

from dovision.config.component import make_each
from dovision.config.settings import TrainSettings, to_dict
from dovision.identity.code import software
from dovision.identity.dependencies import AUTOENCODER, CLASSIFIER, without_monitors
from dovision.io.progress import DISPLAY
from dovision.io.text_files import make_folder
from dovision.jobs import session
from dovision.jobs.job import Job
from dovision.models.conv_autoencoder import insert
from dovision.report.loggers import closing_loggers
from dovision.training import checkpointing, data_module, fitting
from dovision.training.model_cache import FitResult, FittedModel, check_fits, read_or_fit
from dovision.training.trainer import NamedLogger, limits, make_trainer
from dovision.types import Preprocessing

log = logging.getLogger(__name__)


def train_networks(job: Job) -> None:
    """Fit missing networks, and print their paths and scores."""
    settings: TrainSettings = job.settings
    make_folder(settings.output_root, setting="output_root")
    loggers = session.loggers_of(job, "train")
    with closing_loggers(loggers), DISPLAY.job(["data", CLASSIFIER, *([AUTOENCODER] if settings.autoencoder else [])]):
        job, fitted = job.identified(), dict[str, FittedModel]()
        for name in job.networks:
            DISPLAY.step(name)
            job, fitted[name] = fitted_network(job, name, fitted, loggers, again=settings.rerun == "all")
            log.info("%s %s: %s", name, fitted[name].path, checkpointing.scores_text(fitted[name].scores))


def fitted_network(
    job: Job, name: str, fitted: Mapping[str, FittedModel], loggers: Sequence[Logger] = (), again: bool = False
) -> tuple[Job, FittedModel]:
    """Read a network of a job, fitted before unless it is given or cached; the classifier comes first.

    Of all processes that want a network one fits it, and the others wait. The images of a dataset without labels take
    the classes of a classifier that is not fitted to them.

    Args:
        job: identified.
        name: of the network.
        fitted: the networks before it, by name.
        loggers: of its fit.
        again: fit it even if it is found.

    Returns:
        The job with its weights, and the network.

    Raises:
        ValueError: the checkpoint's classes or image shape are not the dataset's; files have changed during the fit.
    """
    key = job.networks[name]
    model = read_or_fit(key, job.settings, fitted, lambda: _fit(job, name, fitted, loggers), again)
    if not key.fits:
        job.images.take_classes(model.classifier.task)
        check_fits(model, job.images.task, job.images.shape)
    return job.with_weights(name, model.weights), model


def _fit(job: Job, name: str, fitted: Mapping[str, FittedModel], loggers: Sequence[Logger]) -> FitResult:
    """Fit a network to the training images, and return it with its best epoch's weights and the record of the fit.

    A fit that was stopped goes on after its last whole epoch, to the same bytes. Without epochs the network is scored
    as it comes.
    """
    settings: TrainSettings = job.settings
    folder, images, of_classifier = job.networks[name].path.parent, job.images, name == CLASSIFIER
    fit: Any = settings.training.classifier if of_classifier else settings.training.autoencoder

    data_module.check_fit(images)
    data = data_module.ImageDataModule(
        images,
        train_batch_size=fit.batch_size,
        num_workers=settings.num_workers,
        seed=settings.seed,
        augmentation=settings.augmentation.make() if of_classifier else None,
    )

    module: Any
    if of_classifier:
        network = fitting.laid_out(settings.model.make())
        module = fitting.classifier_module(fit, network)
    else:
        reference = fitted[CLASSIFIER].classifier
        network = fitting.laid_out(insert(reference, settings.code_of.make(), images.shape))
        module = fitting.autoencoder_module(fit, reference, network)
    module.save_hyperparameters({"training": to_dict(fit, record=True), "seed": settings.seed}, logger=False)

    loggers = loggers if of_classifier else [NamedLogger(name, logger) for logger in loggers]
    callbacks = make_each(settings.callbacks if of_classifier else without_monitors(settings.callbacks)).values()
    monitor, mode = module.best_by
    epochs = checkpointing.Epochs(folder, monitor, mode, software())

    one_device = {"devices": 1, "strategy": "auto"}  # the batch size, and so the numbers, stay as configured
    trainer = make_trainer(settings.trainer, [*callbacks, epochs], loggers, max_epochs=fit.epochs, **one_device)
    if fit.epochs:
        trainer.fit(module, datamodule=data, ckpt_path=epochs.last())
        module.load_state_dict(epochs.best_weights)
        scores = epochs.best_scores
    else:
        scores = {**trainer.validate(module, datamodule=data, verbose=False)[0], "epoch": 0}
    module.finish()

    height, width = images.shape[1:]
    network.preprocessing = Preprocessing(height, images.resize) if height == width else None
    if images.files is not None and job.identified().networks[name].path.parent != folder:  # else opening may take long
        (folder / checkpointing.EPOCH_FILE).unlink(missing_ok=True)
        raise ValueError(
            "the files that a fit reads must stay as they are until it ends, got others. Run the same command again."
        )
    record = {"seed": settings.seed, "data": images.fingerprint, "limits": limits(settings.trainer), "scores": scores}
    return network, record
