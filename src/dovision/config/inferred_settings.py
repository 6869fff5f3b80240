"""Settings that follow from a dataset's files and from the network's weights, where the configuration has null."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from dovision.config.errors import error_text, named

_PIXELS = 224  # height and width where the weights do not say


def with_inferred_settings(config: DictConfig) -> DictConfig:
    """Fill null in dataset.classes and dataset.shape by `inferred_settings`.

    Models and metrics refer to both, so that they are inferred before anything else is read. Errors as of that.
    """
    dataset, model = (OmegaConf.select(config, name) for name in ("dataset", "model"))
    if not isinstance(dataset, DictConfig) or not _nulls(OmegaConf.to_container(dataset)):  # type: ignore[arg-type]
        return config
    inferred = copy.deepcopy(config)
    with open_dict(inferred):
        for name, value in inferred_settings(OmegaConf.to_container(dataset, resolve=True), model).items():  # type: ignore[arg-type]
            inferred.dataset[name] = value
    return inferred


def inferred_settings(dataset: Mapping[str, Any], model: Any = None) -> dict[str, Any]:
    """Infer classes and image shape of a dataset where its settings have null.

    Classes are those that `found_classes` of its class gives; channels those of `found_channels`; height and width
    those that `trained_pixels` of the model's function says its weights were trained at, or 224. What a class
    does not give stays null, and it refuses that itself.

    Raises:
        ValueError: the dataset's files are missing, or give no classes.
    """
    nulls, rooted = _nulls(dataset), dataset.get("root") != "???"
    try:
        dataset_class = hydra.utils.get_class(dataset["_target_"]) if nulls else None
    except Exception:  # the check of targets says what is wrong with it
        return {}
    inferred: dict[str, Any] = {}
    try:
        if rooted and "classes" in nulls and (find := getattr(dataset_class, "found_classes", None)) is not None:
            names = inferred["classes"] = find(dataset)
            if odd := next((name for name in names if "${" in str(name)), ""):  # which would be resolved, as if typed
                raise ValueError(f"a class must have a name without ${{, got {odd!r}. Rename it, or set classes.")
        if "shape" in nulls:
            channels, *pixels = dataset["shape"] or [None] * 3
            if rooted and channels is None and (count := getattr(dataset_class, "found_channels", None)) is not None:
                channels = count(dataset)
            size = _trained_pixels(model) or _PIXELS
            inferred["shape"] = [channels, *(size if length is None else length for length in pixels)]
    except (OSError, ValueError) as error:
        raise ValueError(named("dataset", error_text(error) if isinstance(error, OSError) else str(error))) from error
    return inferred


def _nulls(dataset: Mapping[str, Any]) -> set[str]:
    """Settings to infer."""
    shape = dataset.get("shape", ())
    inferred = shape is None or (isinstance(shape, (list, tuple)) and len(shape) == 3 and None in shape)
    return {name for name, null in (("classes", dataset.get("classes", ()) is None), ("shape", inferred)) if null}


def _trained_pixels(model: Any) -> int | None:
    try:
        find = getattr(hydra.utils.get_object(model["_target_"]), "trained_pixels", None)
        return None if find is None else find(OmegaConf.to_container(model, resolve=True))
    except Exception:  # no model, or one whose own error says what is wrong with it
        return None
