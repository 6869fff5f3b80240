"""Make the component that a node of the configuration describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from dovision.config.errors import explain
from dovision.config.sources import configuration_folder


def instantiate(node: DictConfig, **more: Any) -> Any:
    """The part that a node of the configuration describes, made from plain arguments and from `more`.

    Raises:
        ValueError: the part refuses its arguments; the error begins with the node's name.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **more)
    except InstantiationException as error:
        raise ValueError(explain(error)) from error.__cause__


def instantiate_group(group: str) -> dict[str, Any]:
    """Every component of a group by its name: the package's, and those of a folder that was given to the command.

    Of two with one name it is the first that counts, as in Hydra.

    Raises:
        ValueError: a component refuses its arguments; the error begins with its name.
    """
    folders = [configuration_folder()]
    if HydraConfig.initialized():
        sources = HydraConfig.get().runtime.config_sources
        folders += [Path(source.path) for source in sources if source.schema == "file"]
    files = {path.stem: path for folder in reversed(folders) for path in sorted((folder / group).glob("*.yaml"))}
    nodes = OmegaConf.create({group: {name: OmegaConf.load(path) for name, path in files.items()}})
    return {name: instantiate(nodes[group][name]) for name in files}
