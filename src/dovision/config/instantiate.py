"""Make the component that a node of the configuration describes."""

from __future__ import annotations

from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from dovision.config.errors import explain


def instantiate(node: DictConfig, **more: Any) -> Any:
    """The part that a node of the configuration describes, made from plain arguments and from `more`.

    Raises:
        ValueError: the part refuses its arguments; the error begins with the node's name.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **more)
    except InstantiationException as error:
        raise ValueError(explain(error)) from error.__cause__
