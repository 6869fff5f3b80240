"""One component of a group, composed outside a command with the settings of its yaml file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from dovision.config.component import Component
from dovision.config.component_names import configuration_folder
from dovision.config.sources import HYDRA_DEFAULTS

_AROUND = ("autoencoder.after",)  # settings of a command that components refer to, and that are given here by hand


def composed_component(group: str, name: str, seed: int, several: bool) -> Component:
    """The component of a yaml file.

    Args:
        group, name: its folder and its name.
        seed: of the command.
        several: whether a command takes several of the group, each by its name.
    """
    around = [f"+{key}=???" for key in _AROUND]
    with _own_hydra(), hydra.initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        config = hydra.compose(overrides=[f"+{group}={f'[{name}]' if several else name}", f"+seed={seed}", *around])
    node = config[group][name] if several else config[group]
    return Component(f"{group}.{name}", {str(key): _plain(node, key) for key in node})


def _plain(node: DictConfig, key: Any) -> Any:
    try:
        value = node[key]
    except (MissingMandatoryValue, InterpolationToMissingValueError):
        return "???"
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Leave the Hydra of a command, if there is one, as it was."""
    of_command = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = of_command
