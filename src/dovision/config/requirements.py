"""Requirements between parts of a configuration, checked before the first job and again where they are used."""

from __future__ import annotations

from omegaconf import DictConfig

from dovision import checks


def need_autoencoder(config: DictConfig) -> None:
    """Refuse an intervention on a code where there is no autoencoder, whose code it is.

    Raises:
        ValueError: no autoencoder is configured.
    """
    if config.autoencoder is None:
        raise ValueError("an intervention on a code needs an autoencoder, got none. Choose one: autoencoder=conv_1x1.")


def need_attacks(config: DictConfig) -> None:
    """Refuse detectors where there is no attack that they could detect.

    Raises:
        ValueError: detection has no attacks.
    """
    if not config.detection.attacks:
        raise ValueError("detection needs attacks, got none. Add some: +attack@detection.attacks.pgd=pgd.")


def need_detectors(config: DictConfig) -> None:
    """Refuse an adaptive attacker of detectors that are not chosen.

    Raises:
        ValueError: there is no detector of a name.
    """
    for name in config.detection.adaptive.detectors:
        checks.choice("detection.adaptive.detectors", name, config.detector)


def need_epochs(config: DictConfig) -> None:
    """Refuse a classifier of permuted labels where none is fitted.

    Raises:
        ValueError: the configured training fits nothing.
    """
    if config.evaluation.permuted_labels and config.training.classifier.epochs == 0:
        raise ValueError(
            "evaluation.permuted_labels needs a classifier to be fitted, got training.classifier.epochs=0. "
            "Set evaluation.permuted_labels=false, or some epochs."
        )


def need_gradients(config: DictConfig) -> None:
    """Refuse the trainer's inference mode, in which no gradient can be had.

    Raises:
        ValueError: the inference mode is on.
    """
    if config.trainer.inference_mode:
        raise ValueError("trainer.inference_mode must be false, since attacks and gradient maps need gradients.")
