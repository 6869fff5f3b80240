"""Settings that follow from a dataset's files and from the network's weights, where the configuration has null."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from dovision.config.errors import error_text, named
from dovision.io.sealed import is_foreign, read_sealed
from dovision.types import Preprocessing

_FROM_FUNCTION = "dovision.models._from_function.from_function"
_PIXELS = 224  # height and width where the weights do not say


def with_inferred_settings(config: DictConfig) -> DictConfig:
    """Fill null in dataset.classes, dataset.shape and dataset.resize by `inferred_settings`.

    Models and metrics refer to them, so that they are inferred before anything else is read. Errors as of that.
    """
    dataset, model = (OmegaConf.select(config, name) for name in ("dataset", "model"))
    if not isinstance(dataset, DictConfig) or not _nulls(OmegaConf.to_container(dataset)):  # type: ignore[arg-type]
        return config
    inferred = copy.deepcopy(config)
    with open_dict(inferred):
        content: Any = OmegaConf.to_container(dataset, resolve=True)
        for name, value in inferred_settings(content, model, OmegaConf.select(config, "checkpoint")).items():
            inferred.dataset[name] = value
    return inferred


def with_wrapped_network(config: DictConfig) -> DictConfig:
    """Give the network of a user's function the dataset's classes, unless its yaml hands these to the function.

    mean, std and output of such a yaml are those of the classifier.
    """
    model = OmegaConf.select(config, "model")
    if not isinstance(model, DictConfig) or "classes" in model or "_target_" not in model:
        return config
    content: dict[Any, Any] = OmegaConf.to_container(model)  # type: ignore[assignment]
    if str(content["_target_"]).startswith("dovision."):
        return config
    scale = {name: content.pop(name) for name in ("mean", "std", "output") if name in content}
    of_dataset = {name: f"${{dataset.{name}}}" for name in ("shape", "task", "classes")}
    wrapped = copy.deepcopy(config)
    with open_dict(wrapped):
        wrapped.model = {"_target_": _FROM_FUNCTION, "network": content, **of_dataset, **scale}
    return wrapped


def inferred_settings(dataset: Mapping[str, Any], model: Any = None, checkpoint: Any = None) -> dict[str, Any]:
    """Infer classes and image shape of a dataset where its settings have null.

    Classes are those that `found_classes` of its class gives; channels those of `found_channels`; height and width
    those that the checkpoint was fitted to, or those of `preprocessing` of the model's function, which says what its
    weights were trained on, or 224. Images of that size are brought to it as that says, too, unless the head is a new
    one, which is fitted to the images as they come. What a class does not give stays null, and it refuses that itself.

    Raises:
        ValueError: the dataset's files are missing, or give no classes.
    """
    nulls, rooted = _nulls(dataset), dataset.get("root") != "???"
    try:
        dataset_class = hydra.utils.get_object(dataset["_target_"]) if nulls else None
    except Exception:  # the check of targets says what is wrong with it
        return {}
    trained, resize = _preprocessing(model, checkpoint) if nulls & {"shape", "resize"} else (None, None)
    inferred: dict[str, Any] = {}
    try:
        if rooted and "classes" in nulls and (find := getattr(dataset_class, "found_classes", None)) is not None:
            names = inferred["classes"] = find(dataset)
            if odd := next((name for name in names or () if "${" in str(name)), ""):  # would be resolved, as if typed
                raise ValueError(f"a class must have a name without ${{, got {odd!r}. Rename it, or set classes.")
        if "shape" in nulls:
            channels, *pixels = dataset["shape"] or [None] * 3
            if rooted and channels is None and (count := getattr(dataset_class, "found_channels", None)) is not None:
                channels = count(dataset)
            size = trained or _PIXELS
            inferred["shape"] = [channels, *(size if length is None else length for length in pixels)]
        pixels = inferred.get("shape", dataset["shape"])[1:]
        if "resize" in nulls and resize is not None and pixels == [trained] * 2:
            inferred["resize"] = resize
    except (OSError, ValueError) as error:
        raise ValueError(named("dataset", error_text(error) if isinstance(error, OSError) else str(error))) from error
    return inferred


def _nulls(dataset: Mapping[str, Any]) -> set[str]:
    """Settings to infer."""
    shape = dataset.get("shape", ())
    inferred = shape is None or (isinstance(shape, (list, tuple)) and len(shape) == 3 and None in shape)
    nulls = {name for name in ("classes", "resize") if dataset.get(name, ()) is None}
    return nulls | {"shape"} if inferred else nulls


def _preprocessing(model: Any, checkpoint: Any) -> tuple[int | None, dict[str, Any] | None]:
    """Pixels and resize of the images that the weights were trained on; None for what is unknown."""
    try:
        trained, new_head = None, False
        if checkpoint is not None and not is_foreign(checkpoint):
            fitted = read_sealed(checkpoint)["facts"].get("preprocessing")
            trained = None if fitted is None else Preprocessing.of(fitted)
        if trained is None:
            find = hydra.utils.get_object(model["_target_"]).preprocessing
            trained = find(OmegaConf.to_container(model, resolve=True))
            new_head = model.get("new_head")
        return trained.pixels, None if new_head else trained.resize._asdict()
    except Exception:  # no model, one that does not say it, or one whose own error says what is wrong with it
        return None, None
