"""The chest X-ray networks of torchxrayvision, each trained on other collections of films."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torchvision
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.models._foreign_weights import load_weights
from dovision.models._published import (
    choose_outputs,
    fetching,
    has_numbers,
    output_numbers,
    stated_or_own,
    with_arguments,
)
from dovision.types import Preprocessing, Shape, Task

log = logging.getLogger(__name__)
_POINTS = "op_threshs"  # beside the weights: the operating points
MEAN, STD = (0.5,), (1 / 2048,)  # pixel units: [0, 1] becomes the networks' [-1024, 1024]


def xrv_model(
    name: str,
    pretrained: bool,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    new_head: bool = False,
    weights: str | None = None,
) -> Classifier:
    """A torchxrayvision network as a classifier. Needs the extra xrv.

    The library's own output is a sigmoid, stretched so that each label's operating point becomes a half. Here the
    logits before both are the classifier's, and the operating points its thresholds, so that it says the same.

    Args:
        name: of the library's weights, such as densenet121-res224-nih; it determines architecture and labels.
        pretrained: start from these weights, which the library downloads, and reads by unpickling.
        shape: (1, H, W) of the images, of the size that the network was trained at.
        task: multilabel; any, or None, without `classes`.
        classes: names, one an output, matched to the network's labels; None: those that it was trained on.
        new_head: take classes that the weights have no trained output for; their logits start as 0, to be fitted.
        weights: a file of a state dict of the library's network, with all of its outputs, in place of its weights.

    Raises:
        FileNotFoundError: there is no such file of weights.
        ValueError: there are no such weights, or the file is of another network; the images are of another shape; no
            class is among the trained labels, or one is not, and no new head is asked for.
        ConnectionError: the weights are not on this machine, and cannot be downloaded.

    Source: Cohen et al., TorchXRayVision, arXiv:2111.00595.

    Example:
        >>> dv.xrv_model("densenet121-res224-nih", False, (1, 224, 224), "multilabel", ["Effusion"]).task.classes
        ('Effusion',)
    """
    if task != "multilabel" and classes is not None:
        raise ValueError(f"xrv_model's task must be multilabel, got {task!r}. Choose model=torchvision_model for it.")
    library = checks.import_extra("torchxrayvision", "xrv").models
    entry = _model_entry(library, name, shape)
    points = {label: at for label, at in zip(entry["labels"], entry["op_threshs"], strict=True) if math.isfinite(at)}
    stated = stated_or_own(name, task, classes, Task("multilabel", tuple(points)))
    classes = stated.classes
    untrained = [label for label in classes if label not in points]  # never trained: without an operating point
    if len(untrained) == len(classes):
        raise ValueError(
            f"{name} knows none of the classes {checks.listed(classes)}; it knows {', '.join(points)}. "
            "Set dataset.classes to some of these, or choose another model.name."
        )
    if pretrained and untrained and not new_head:
        raise ValueError(
            f"{name} has no trained output for {', '.join(untrained)}: the collections it was trained on do not label "
            "them. Leave them out of dataset.classes, choose another model.name, or fit them: model.new_head=true."
        )
    network = _random(name, len(entry["labels"]))
    if weights is not None:
        whole = f"If it is the head, save all its {len(entry['labels'])} outputs, as {name} has them, for any classes."
        load_weights(network, weights, ignored=[_POINTS], head=whole)
    elif pretrained and has_numbers():
        network.load_state_dict(_weights(library, name))
        if untrained:
            log.warning("%s has no trained head for %s: the logits start as 0.", name, ", ".join(untrained))
    names = [label if label in points else "" for label in entry["labels"]]
    choose_outputs(network, "classifier" if name.startswith("densenet") else "fc", output_numbers(names, classes))
    thresholds = [points.get(label, 0.5) for label in classes] if pretrained and weights is None else []
    classifier = Classifier(network, replace(stated, thresholds=tuple(thresholds)), MEAN, STD)
    return with_arguments(classifier, pretrained or weights is not None)


def _preprocessing(settings: Mapping[str, Any]) -> Preprocessing:
    """Input height and width of the network."""
    urls = checks.import_extra("torchxrayvision", "xrv").models.model_urls
    return Preprocessing(int(urls[settings["name"]]["input_resolution"]))


xrv_model.preprocessing = _preprocessing  # type: ignore[attr-defined]


def _model_entry(library: Any, name: str, shape: Shape) -> dict[str, Any]:
    families = ("densenet121-", "resnet50-")  # the library's full names
    checks.choice("model.name", name, [key for key in library.model_urls if key.startswith(families)])
    entry: dict[str, Any] = library.model_urls[name]
    size = entry["input_resolution"]
    if tuple(shape) != (1, size, size):
        raise ValueError(
            f"{name} takes grey images of {size} x {size} pixels, got shape {list(shape)}. "
            f"Set dataset.shape=[1,{size},{size}]."
        )
    return entry


def _random(name: str, outputs: int) -> nn.Module:
    """The library's architecture, as torchvision has it: the same tensors of the same names."""
    first = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    network = torchvision.models.get_model(name.partition("-")[0], weights=None, num_classes=outputs)
    network.set_submodule("features.conv0" if name.startswith("densenet") else "conv1", first)
    return network


def _weights(library: Any, name: str) -> dict[str, Tensor]:
    folder = library.utils.get_cache_dir()
    remedy = (
        f"Put the file into {folder}, name it, model.weights=FILE, or start from random ones, model.pretrained=false."
    )
    with fetching(name, library.model_urls[name]["weights_url"], remedy):
        published = library.get_model(name)
    return {key.removeprefix("model."): t for key, t in published.state_dict().items() if key != _POINTS}
