"""What one part of a configuration needs of another: checked before the first job, and again where it is used."""

from __future__ import annotations

from omegaconf import DictConfig


def need_autoencoder(config: DictConfig) -> None:
    """Refuse an intervention on a code where there is no autoencoder, whose code it is.

    Raises:
        ValueError: no autoencoder is configured.
    """
    if config.autoencoder is None:
        raise ValueError("an intervention on a code needs an autoencoder, got none. Choose one: autoencoder=conv_1x1.")


def need_worlds(config: DictConfig) -> None:
    """Refuse detectors where there is no attack that they could detect.

    Raises:
        ValueError: detection has no worlds.
    """
    if not config.detection.worlds:
        raise ValueError("detection needs attacks, got none. Add some: +attack@detection.worlds.pgd=pgd.")


def need_gradients(config: DictConfig) -> None:
    """Refuse the trainer's inference mode, in which no gradient can be had.

    Raises:
        ValueError: the inference mode is on.
    """
    if config.trainer.inference_mode:
        raise ValueError("trainer.inference_mode must be false, since attacks and gradient maps need gradients.")
