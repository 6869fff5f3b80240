"""Configurations and settings of command lines, composed as the commands compose them."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from dovision.config import settings
from dovision.config.sources import HYDRA_DEFAULTS

CONF = Path(__file__).resolve().parents[1] / "conf"  # beside these tests: a copy of them has components of its own


def composed(*overrides: str, command: str | None = "evaluate", hydra: bool = False) -> DictConfig:
    """The configuration of a command line, or of overrides alone; with Hydra's own keys if they are asked for."""
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else initialize_config_dir(str(CONF), **HYDRA_DEFAULTS):
        return compose(command, list(overrides), return_hydra_config=hydra)


def read(*overrides: str, command: str = "evaluate") -> Any:
    """The settings of a command line."""
    return settings.read(command, composed(*overrides, command=command))
