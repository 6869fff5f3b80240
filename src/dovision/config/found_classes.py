"""Classes that a dataset finds in its files, where the configuration names none."""

from __future__ import annotations

import copy
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from dovision.config.errors import error_text, named


def with_found_classes(config: DictConfig) -> DictConfig:
    """The configuration, with the names that `found_classes` of the dataset's class gives for dataset.classes=null.

    Models and metrics refer to the names, so that they are found before anything else is read. A dataset without that
    method refuses null itself.

    Raises:
        ValueError: the dataset's files are missing, or give no classes.
    """
    dataset: Any = OmegaConf.select(config, "dataset")
    if (
        not isinstance(dataset, DictConfig)
        or not {"_target_", "classes"} <= set(dataset)
        or dataset.classes is not None
    ):
        return config
    try:
        find = getattr(hydra.utils.get_class(dataset["_target_"]), "found_classes", None)
    except Exception:  # the check of targets says what is wrong with it
        return config
    if find is None:
        return config
    try:
        names = find(OmegaConf.to_container(dataset, resolve=True))
    except (OSError, ValueError) as error:
        raise ValueError(named("dataset", error_text(error) if isinstance(error, OSError) else str(error))) from error
    found = copy.deepcopy(config)
    with open_dict(found):
        found.dataset.classes = names
    return found
