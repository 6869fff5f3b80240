"""Configurations and settings of command lines, composed as the commands compose them."""

from typing import Any

from hydra import compose
from omegaconf import DictConfig

from dovision.config import settings
from dovision.config.composition import hydra_outside


def composed(*overrides: str, command: str | None = "evaluate", hydra: bool = False) -> DictConfig:
    """The configuration of a command line, or of overrides alone; with Hydra's own keys if they are asked for."""
    with hydra_outside():
        return compose(command, list(overrides), return_hydra_config=hydra)


def read(*overrides: str, command: str = "evaluate") -> Any:
    """The settings of a command line."""
    return settings.read(command, composed(*overrides, command=command))
