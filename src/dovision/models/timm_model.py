"""Any classification network of timm, with any number of channels and classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dovision import checks
from dovision.functional.outputs import Reading
from dovision.interfaces import Classifier
from dovision.models._foreign_weights import load_weights
from dovision.models._published import (
    WeightsMetadata,
    choose_outputs,
    distinct,
    fetching,
    has_numbers,
    normalisation,
    of_names,
    outputs_of,
    preprocessing,
    stated_or_own,
    with_arguments,
)
from dovision.types import Preprocessing, Shape


def timm_model(
    name: str,
    pretrained: bool,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    output: str | Sequence[int] | Reading | None = None,
    new_head: bool = False,
    weights: str | None = None,
) -> Classifier:
    """A timm network as a classifier. Needs the extra timm.

    Args:
        name: as timm names it, such as resnet18 or vit_tiny_patch16_224.augreg_in21k.
        pretrained: start from timm's weights for that name.
        shape: (C, H, W) of the images. With pretrained weights, the first convolution's are summed over colours for one
            channel, as if the grey image were given three times. A network made for one size is made for this one.
        task, classes: as of `dovision.models`, names of the weights' own classes; both None: all of these.
        mean, std: as of `dovision.models`; None: as the weights were trained, or ImageNet's, averaged over colours.
        output: as of `Classifier`.
        new_head: start from the weights, but for the head, which is initialised for the classes.
        weights: a file of a state dict of this network, where training starts from in place of timm's weights.

    Raises:
        FileNotFoundError: there is no such file of weights.
        ValueError: timm has no network, or no weights, of that name; a class is not among those of the weights, and no
            new head is asked for; the file is of another network.
        ConnectionError: the weights are not on this machine, and cannot be downloaded.

    Example:
        >>> dv.timm_model("resnet10t", False, (3, 32, 32), "multiclass", ["a", "b"], [0.5], [0.5]).task.classes
        ('a', 'b')
    """
    timm = checks.import_extra("timm", "timm")
    listed = [*timm.list_models(), *timm.list_models(pretrained=True)]
    if name not in listed:
        raise ValueError(
            f"model.name must be one of timm.list_models(), got {name!r}.{checks.suggestion(name, listed)}"
        )
    if pretrained and not timm.is_model_pretrained(name):
        raise ValueError(f"timm has no weights of {name}. Start from random ones: model.pretrained=false.")
    if pretrained and weights is not None:
        raise ValueError(
            f"model.weights must be null with model.pretrained=true, got {weights}. Set one of them alone."
        )
    pretrained_cfg = timm.get_pretrained_cfg(name)
    names = of_names(_class_names(pretrained_cfg.to_dict())) if pretrained else None
    stated = stated_or_own(f"{name} with pretrained={str(pretrained).lower()}", task, classes, names)
    outputs = None
    if pretrained:
        known_classes = None if names is None else names.classes
        outputs = outputs_of(f"timm's weights of {name}", known_classes, pretrained_cfg.num_classes, stated, new_head)
    keeps = outputs is not None and has_numbers()
    settings: dict[str, Any] = {"in_chans": shape[0]}
    settings["num_classes"] = pretrained_cfg.num_classes if keeps else len(stated.classes)
    if pretrained_cfg.fixed_input_size:
        settings["img_size"] = tuple(shape[1:])
    remedy = "Fetch them once where there is a network and copy the cache (the folder HF_HOME) here, name a file, "
    remedy += "model.weights=FILE, or start from random weights, model.pretrained=false."
    with fetching(f"of {name}", pretrained_cfg.hf_hub_id or pretrained_cfg.url, remedy):
        network = timm.create_model(name, pretrained=pretrained and has_numbers(), **settings)
    heads = [pretrained_cfg.classifier] if isinstance(pretrained_cfg.classifier, str) else pretrained_cfg.classifier
    if keeps and outputs is not None:
        for head in heads:
            choose_outputs(network, head, outputs)
    if weights is not None:
        load_weights(network, weights, heads if new_head else (), classes=stated.classes)
    mean, std = normalisation(shape[0], mean, std, (pretrained_cfg.mean, pretrained_cfg.std) if pretrained else None)
    classifier = Classifier(network, stated, mean, std, output)
    classifier.preprocessing = _preprocessing({"name": name, "pretrained": pretrained})
    return with_arguments(classifier, pretrained or weights is not None, mean=list(mean), std=list(std))


def timm_metadata(network: nn.Module) -> WeightsMetadata:
    """Metadata of a timm network: its `pretrained_cfg`, whose names are those of its outputs where as many.

    Mean and std are averaged for a network of grey images.
    """
    cfg: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    count: int = network.num_classes  # type: ignore[assignment]
    if not count:
        features = f"{network.num_features} features, not classes"
        raise ValueError(
            f"network must have a head, got one of timm that outputs {features}. Create it with num_classes=."
        )
    names = _class_names(cfg) if count == cfg["num_classes"] else None
    channels = next((layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)), 3)
    mean, std = normalisation(1 if channels == 1 else 3, None, None, (cfg["mean"], cfg["std"]))
    return WeightsMetadata(distinct(names) if names else count, None, mean, std, _preprocessing_of(cfg))


def _class_names(cfg: Mapping[str, Any]) -> list[str] | None:
    """Names of a network's outputs, short where distinct; None if timm does not know them."""
    data = checks.import_extra("timm.data", "timm")
    subset = data.infer_imagenet_subset(cfg)
    if not subset:
        return None if cfg.get("label_names") is None else list(cfg["label_names"])
    info = data.ImageNetInfo(subset)
    return [info.index_to_description(number).partition(",")[0] for number in range(info.num_classes())]


def _preprocessing(settings: Mapping[str, Any]) -> Preprocessing | None:
    """Preprocessing of the images that the chosen weights were trained on; None if unknown."""
    if not settings["pretrained"]:
        return None
    return _preprocessing_of(checks.import_extra("timm", "timm").get_pretrained_cfg(settings["name"]).to_dict())


def _preprocessing_of(cfg: Mapping[str, Any]) -> Preprocessing:
    data = checks.import_extra("timm.data", "timm").resolve_data_config(pretrained_cfg=cfg)
    pixels, mode = data["input_size"][-1], "stretch" if data["crop_mode"] == "squash" else "cover"
    return preprocessing(pixels, math.floor(pixels / data["crop_pct"]), data["interpolation"], mode)


timm_model.preprocessing = _preprocessing  # type: ignore[attr-defined]
