"""Lightning's trainer: the settings that a configuration may give it, and what stands in for the others."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar

from dovision.config.component import Component
from dovision.training.fit_progress import FitProgress

EPOCHS = "Set training.classifier.epochs and training.autoencoder.epochs."
_IMAGES = "The number of test images is evaluation.images."
TRAINING = "A fit takes all training images, so that its checkpoint is that of the dataset. Choose a smaller dataset."
BEST = "Each epoch is validated on all images of val, since the best one is kept."
_RESUMED = "Checkpoints of epochs are kept under output_root, and the same command goes on from them."
LOGGER = "Choose it by the group: logger=csv, logger=tensorboard or logger=wandb."
SAMPLER = "Test images are shared out among the devices by the command."
_NOTHING = "Nothing here needs it."

# Lightning's parameters that are not keys of conf/trainer/default.yaml, and what does their work.
INSTEAD = {
    "num_nodes": "A job runs on one machine. For a sweep on several: hydra/launcher=submitit_slurm.",
    "logger": LOGGER,
    "log_every_n_steps": LOGGER,
    "enable_autolog_hparams": LOGGER,
    "callbacks": "What is measured besides effects is chosen by explainer and detector.",
    "fast_dev_run": f"{EPOCHS} {_IMAGES}",
    "max_epochs": EPOCHS,
    "min_epochs": EPOCHS,
    "max_steps": EPOCHS,
    "min_steps": EPOCHS,
    "max_time": f"A job may be stopped at any time, and the same command goes on. {EPOCHS}",
    "limit_train_batches": TRAINING,
    "overfit_batches": TRAINING,
    "limit_val_batches": BEST,
    "val_check_interval": BEST,
    "check_val_every_n_epoch": BEST,
    "num_sanity_val_steps": BEST,
    "limit_test_batches": _IMAGES,
    "limit_predict_batches": _IMAGES,
    "enable_checkpointing": _RESUMED,
    "reload_dataloaders_every_n_epochs": _NOTHING,
    "enable_progress_bar": "There are bars where standard error is a terminal, and lines in the log elsewhere.",
    "use_distributed_sampler": SAMPLER,
    "sync_batchnorm": "A model is fitted on one device.",
    "plugins": "Choose the precision by trainer.precision, and how devices work together by trainer.strategy.",
    "profiler": "Profile the command from outside: python -m cProfile -m dovision.cli.evaluate ...",
    "barebones": "Only what the configuration asks for is switched on.",
    "default_root_dir": "Everything is written under output_root.",
    "model_registry": _RESUMED,
}

DEVICES = ("accelerator", "devices", "strategy", "precision")  # keys that may not fit the machine, or each other


def make_trainer(configured: Component, callbacks: list[Callback], **settings: Any) -> pl.Trainer:
    """Lightning's trainer with the configured plumbing; the display shows its fits, unless a callback is a bar.

    Raises:
        ValueError: Lightning refuses a setting, as that of an accelerator that is not there.
    """
    bars = [] if any(isinstance(callback, ProgressBar) for callback in callbacks) else [FitProgress()]
    plumbing = configured.replaced(**settings)
    try:
        return plumbing.make(callbacks=[*callbacks, *bars])
    except ValueError as error:
        got, reason = ", ".join(f"{key}={plumbing[key]}" for key in DEVICES), str(error).removeprefix("trainer: ")
        raise ValueError(f"trainer is refused by Lightning, got {got}: {reason}") from error.__cause__
