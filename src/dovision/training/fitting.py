"""Fit a classifier and its autoencoder, and save them as checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from dovision.config.instantiate import instantiate
from dovision.config.sources import recorded
from dovision.interfaces import Classifier, Images
from dovision.models import checkpoint
from dovision.models.conv_autoencoder import insert
from dovision.store.provenance import software
from dovision.training.autoencoder_loss import AutoencoderLoss
from dovision.training.causal_autoencoder import CausalAutoencoder
from dovision.training.checkpointing import Epochs
from dovision.training.image_classifier import ImageClassifier
from dovision.training.trainer import make_trainer

VALIDATION_BATCH = 256  # images


def fit_classifier(config: DictConfig, images: Images, path: Path) -> None:
    """Fit the configured model to the training images, and write its checkpoint with its scores."""
    settings = config.training.classifier
    network = laid_out(instantiate(config.model))
    module = classifier_module(config, network)
    facts = _fit(config, images, module, settings, path.parent, "val_score", "max")
    network.task = module.fitted_task
    checkpoint.save_checkpoint(path, network, recorded(config.model), None, facts)


def fit_autoencoder(config: DictConfig, images: Images, plain: Classifier, fitted: Path, path: Path) -> None:
    """Insert the configured autoencoder into a fitted classifier, fit it as well, and write a checkpoint of both.

    Args:
        config: of the job.
        images: whose training images it is fitted to.
        plain: the classifier, whose answers are to be preserved.
        fitted: the classifier's checkpoint.
        path: where the checkpoint of both goes.
    """
    settings = config.training.autoencoder
    with_autoencoder = laid_out(insert(plain, instantiate(config.autoencoder), images.shape))
    module = autoencoder_module(config, plain, with_autoencoder)
    facts = _fit(config, images, module, settings, path.parent, "val_loss", "min")
    model = checkpoint.read_checkpoint(fitted)["model"]
    checkpoint.save_checkpoint(path, with_autoencoder, model, recorded(config.autoencoder), facts)


def classifier_module(config: DictConfig, network: Classifier) -> ImageClassifier:
    """The configured training of a network."""
    return ImageClassifier(network, instantiate(config.training.classifier.optimizer))


def autoencoder_module(config: DictConfig, plain: Classifier, with_autoencoder: Classifier) -> CausalAutoencoder:
    """The configured training of the autoencoder in `with_autoencoder`."""
    settings = config.training.autoencoder
    loss: AutoencoderLoss = instantiate(settings.loss)
    return CausalAutoencoder(plain, with_autoencoder, instantiate(settings.optimizer), loss, settings.zeroed_channel)


def laid_out(classifier: Classifier) -> Classifier:
    """Its weights with channels last, as convolutions take them: passes and gradients are 1.1 to 1.5 times as fast."""
    return classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it


def _fit(
    config: DictConfig,
    images: Images,
    module: pl.LightningModule,
    settings: DictConfig,
    folder: Path,
    monitor: str,
    mode: str,
) -> dict[str, Any]:
    """Fit, put the best epoch's weights into the module, and return its scores; with no epochs, those as it comes."""
    train, val = (_loader(config, images, split, settings.batch_size) for split in ("train", "val"))
    epochs = Epochs(folder, monitor, mode, train.generator, software())
    one_device = {"devices": 1, "strategy": "auto"}  # the batch size, and so the numbers, stay as configured
    trainer = make_trainer(config, [epochs], max_epochs=settings.epochs, logger=False, **one_device)
    if settings.epochs == 0:
        scores = {**trainer.validate(module, val, verbose=False)[0], "epoch": 0}
    else:
        trainer.fit(module, train, val, ckpt_path=epochs.last())
        module.load_state_dict(epochs.best_weights)
        scores = epochs.best_scores
    return {"fit": folder.name, "seed": config.seed, "data": images.fingerprint, "scores": scores}


def _loader(config: DictConfig, images: Images, split: str, batch_size: int) -> DataLoader[Any]:
    train = split == "train"
    return DataLoader(
        images.split(split),
        batch_size=batch_size if train else VALIDATION_BATCH,
        shuffle=train,
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        generator=torch.Generator().manual_seed(config.seed),
    )
