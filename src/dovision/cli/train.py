"""The command dovision-train: fit the classifier, and the autoencoder if one is asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.loggers import Logger

from dovision import checks
from dovision.cli import session
from dovision.cli.hydra_main import hydra_main
from dovision.config.settings import FitSettings, TrainSettings, to_dict
from dovision.identity.code import software
from dovision.identity.plans import AUTOENCODER, CLASSIFIER, FOREIGN_WEIGHTS, NetworkKey, callbacks_of_fit
from dovision.identity.shared import PlannedJob, shared
from dovision.interfaces import Classifier
from dovision.io.text_files import make_folder
from dovision.models.checkpoint import save_checkpoint
from dovision.models.conv_autoencoder import insert
from dovision.runtime.progress import DISPLAY
from dovision.tracking.loggers import closing_loggers
from dovision.training.checkpointing import EPOCH_FILE, Epochs, check_resumable, scores_text
from dovision.training.data_module import ImageDataModule, check_fit
from dovision.training.fit_callbacks import best_by, make_callbacks
from dovision.training.fitted_module import FittedModule
from dovision.training.fitting import autoencoder_module, classifier_module, laid_out
from dovision.training.foreign import given_network
from dovision.training.model_cache import Architecture, FittedModel, JobNetworks, cache_entry, read_model
from dovision.training.named_loggers import named_loggers
from dovision.training.trainer import limits, make_trainer
from dovision.types import Preprocessing

log = logging.getLogger(__name__)


def train_networks(settings: TrainSettings) -> float | None:
    """Fit missing networks, and print their paths and scores.

    Returns:
        The score that `optimized_metric` names; None if that names nothing.

    Raises:
        ValueError: `optimized_metric` names no score of these networks.
    """
    make_folder(settings.output_root, setting="output_root")
    loggers = session.loggers_of(settings, "train")
    with closing_loggers(loggers), DISPLAY.job(["data", CLASSIFIER, *([AUTOENCODER] if settings.autoencoder else [])]):
        networks = JobNetworks(*shared().job(settings, Path(HydraConfig.get().runtime.output_dir)))
        scores: dict[str, float] = {}
        for name in networks.plan.network_keys:
            DISPLAY.step(name)
            fitted = fitted_network(settings, networks, name, loggers, again=settings.rerun == "all")
            log.info("%s %s: %s", name, fitted.path, scores_text(fitted.scores))
            scores |= {
                score if name == CLASSIFIER else f"{name}/{score}": value for score, value in fitted.scores.items()
            }
    if settings.optimized_metric is None:
        return None
    return scores[checks.choice("optimized_metric", settings.optimized_metric, scores)]


def fit_networks(settings: TrainSettings, job: PlannedJob, loggers: Sequence[Logger] = ()) -> JobNetworks:
    """Read all networks of a job, fitted where they are not cached."""
    networks = JobNetworks(*job)
    for name in job.plan.network_keys:
        fitted_network(settings, networks, name, loggers)
    return networks


def fitted_network(
    settings: TrainSettings, networks: JobNetworks, name: str, loggers: Sequence[Logger] = (), again: bool = False
) -> FittedModel:
    """Read a network of a job, fitted before unless it is given or cached.

    Of all processes that want a network one fits it, and the others wait.

    Of all networks the classifier comes first; with `again` the network is fitted even if it is found.

    Raises:
        ValueError: the checkpoint's classes or image shape are not the dataset's; files have changed during the fit.
    """
    key = networks.plan.network_keys[name]
    architecture = Architecture(settings.model, settings.autoencoder, settings.trust_checkpoint)
    if key.is_given:
        return networks.add(name, read_model(key.path, architecture, given=True))
    components: dict[str, Any] = {"model": settings.model.record(), "autoencoder": None}
    if name == AUTOENCODER:
        components = {"model": networks.fitted[CLASSIFIER].model, "autoencoder": settings.code_of.record()}
    with cache_entry(key, components, settings.seed, limits(settings.trainer), again) as is_found:
        if not is_found:
            if key.fits:
                network, record = _fit(settings, networks, name, loggers)
                _check_unchanged(settings, networks, key)
            else:
                weights, origin = settings.foreign_checkpoint, dict(key.content.get(FOREIGN_WEIGHTS, {}))
                network = laid_out(given_network(settings.model, weights, settings.checkpoint_mapping, origin))
                record = {"scores": {}, "limits": {}, **({FOREIGN_WEIGHTS: origin} if origin else {})}
            record = {"fit": key.path.parent.name, **record}
            save_checkpoint(key.path, network, components["model"], components["autoencoder"], record)
        model = read_model(key.path, architecture)
    return networks.add(name, model)


def _check_unchanged(settings: TrainSettings, networks: JobNetworks, key: NetworkKey) -> None:
    """Refuse, and give up, a fit whose data, or files that its settings name, have changed since it was planned."""
    if networks.images.files is None:  # opening them once more may take long
        return
    now = shared().job(settings, networks.plan.run_dir).plan.network_keys[key.name]
    if now.path != key.path:
        (key.path.parent / EPOCH_FILE).unlink(missing_ok=True)
        raise ValueError(
            "the files that a fit reads must stay as they are until it ends, got others. Run the same command again."
        )


def _fit(
    settings: TrainSettings, networks: JobNetworks, name: str, loggers: Sequence[Logger]
) -> tuple[Classifier, dict[str, Any]]:
    """Fit a network to the training images, and return it with its best epoch's weights and the record of the fit.

    A fit that was stopped goes on after its last whole epoch, to the same bytes. Without epochs the network is scored
    as it comes.
    """
    folder, seed, training = networks.plan.network_keys[name].path.parent, settings.seed, settings.training
    start = settings.ckpt_path if name == CLASSIFIER else None
    of_autoencoder = name == AUTOENCODER
    fit: FitSettings = training.autoencoder if of_autoencoder else training.classifier

    images = networks.images
    check_fit(images)
    data: LightningDataModule = ImageDataModule(
        images,
        train_batch_size=fit.batch_size,
        num_workers=settings.num_workers,
        seed=seed,
        augmentation=None if of_autoencoder else settings.augmentation.make(),
    )

    module: FittedModule
    if of_autoencoder:
        reference = networks.fitted[CLASSIFIER].classifier
        network = laid_out(insert(reference, settings.code_of.make(), images.shape))
        module = autoencoder_module(training.autoencoder, reference, network)
    else:
        network = laid_out(settings.model.make())
        module = classifier_module(training.classifier, network)
    module.save_hyperparameters({"training": to_dict(fit, record=True), "seed": seed}, logger=False)
    if start is not None:
        check_resumable(start, module, fit.epochs)

    loggers = loggers if name == CLASSIFIER else named_loggers(name, loggers)
    configured = callbacks_of_fit(settings.callbacks, monitors=not of_autoencoder)
    callbacks: list[Callback] = make_callbacks(configured, folder, has_loggers=bool(loggers))
    epochs = Epochs(folder, *best_by(callbacks, module.best_by), software())
    one_device = {"devices": 1, "strategy": "auto"}  # the batch size, and so the numbers, stay as configured
    trainer: Trainer = make_trainer(
        settings.trainer, [*callbacks, epochs], loggers, max_epochs=fit.epochs, **one_device
    )
    if fit.epochs:
        trainer.fit(module, datamodule=data, ckpt_path=epochs.last() or start)
        module.load_state_dict(epochs.best_weights)
        scores = epochs.best_scores
    else:
        scores = {**trainer.validate(module, datamodule=data, verbose=False)[0], "epoch": 0}
    module.finish()
    height, width = images.shape[1:]
    network.preprocessing = Preprocessing(height, images.resize) if height == width else None
    limited = limits(settings.trainer)
    return network, {"seed": seed, "data": images.fingerprint, "limits": limited, "scores": scores}


main = hydra_main("train", train_networks)

if __name__ == "__main__":
    main()
