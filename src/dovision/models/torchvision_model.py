"""Any classification network of torchvision, with any number of channels and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

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
    head_like,
    normalisation,
    of_names,
    outputs_of,
    preprocessing,
    stated_or_own,
    with_arguments,
)
from dovision.types import Preprocessing, Shape, Task

_FILE_ENDINGS = (".pt", ".pth", ".ckpt", ".tar", ".safetensors")


def torchvision_model(
    name: str,
    weights: str | None,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    output: str | Sequence[int] | Reading | None = None,
    new_head: bool = False,
) -> Classifier:
    """A torchvision network as a classifier.

    Args:
        name: as torchvision names it, such as resnet18 or densenet121.
        weights: where training starts from: a name such as DEFAULT or IMAGENET1K_V1, a file of a state dict of this
            network (.pt, .pth, .ckpt, .tar or .safetensors), or None for random weights.
        shape: (C, H, W) of the images. With pretrained weights, the first convolution's are summed over colours for one
            channel, as if the grey image were given three times.
        task, classes: as of `dovision.models`, names of the weights' own categories; both None: all of these.
        mean, std: as of `dovision.models`; None: as the weights were trained, or ImageNet's, averaged over colours.
        output: as of `Classifier`.
        new_head: start from the weights, but for the head, which is initialised for the classes.

    Raises:
        FileNotFoundError: there is no such file of weights.
        ValueError: torchvision has no classification network, or no weights, of that name; a class is not among those
            of the weights, and no new head is asked for; the file is of another network.
        ConnectionError: the weights are not on this machine, and cannot be downloaded.

    Example:
        >>> dv.torchvision_model("resnet18", None, (3, 32, 32), "multiclass", ["a", "b"], [0.5], [0.5]).task.classes
        ('a', 'b')
    """
    checks.choice("model.name", name, torchvision.models.list_models(torchvision.models))
    choices = torchvision.models.get_model_weights(name)
    file = weights if weights is not None and weights.endswith(_FILE_ENDINGS) else None
    if weights is not None and file is None:
        checks.choice("model.weights", weights, ["DEFAULT", *(choice.name for choice in choices)])
    published = None if weights is None or file is not None else choices[weights]
    names = of_names(None if published is None else published.meta.get("categories"))
    stated = stated_or_own(f"{name} with weights={weights or 'null'}", task, classes, names)
    network = _network(name, published, stated, names, new_head)
    _drop_auxiliary_heads(network)
    if shape[0] != 3:
        _replace_first_convolution(network, shape[0], pretrained=published is not None)
    if file is not None:
        head = [_head(network, len(stated.classes))[0]] if new_head else ()
        load_weights(network, file, head, classes=stated.classes)
    preset = published.transforms() if published is not None else None
    mean, std = normalisation(shape[0], mean, std, None if preset is None else (preset.mean, preset.std))
    classifier = Classifier(network, stated, mean, std, output)
    classifier.preprocessing = _preprocessing({"name": name, "weights": weights})
    return with_arguments(classifier, weights is not None, mean=list(mean), std=list(std))


def _preprocessing(settings: Mapping[str, Any]) -> Preprocessing | None:
    """Preprocessing of the images that the chosen weights were trained on; None if unknown."""
    weights = settings["weights"]
    if weights is None or weights.endswith(_FILE_ENDINGS):
        return None
    return torchvision_metadata(torchvision.models.get_model_weights(settings["name"])[weights]).preprocessing


torchvision_model.preprocessing = _preprocessing  # type: ignore[attr-defined]


def torchvision_metadata(weights: WeightsEnum) -> WeightsMetadata:
    """Metadata of torchvision's weights; those of detectors are of networks that normalise images themselves."""
    preset = weights.transforms()
    size = getattr(preset, "crop_size", None)
    trained = None if size is None else preprocessing(size[0], preset.resize_size[0], preset.interpolation.value)
    mean, std = getattr(preset, "mean", (0.0,)), getattr(preset, "std", (1.0,))
    return WeightsMetadata(distinct(weights.meta["categories"]), None, mean, std, trained)


def _network(name: str, weights: WeightsEnum | None, task: Task, names: Task | None, new_head: bool) -> nn.Module:
    if weights is None:
        return _random(name, len(task.classes))
    what, count = f"{weights.name} of {name}", len(weights.meta["categories"])
    outputs = outputs_of(what, None if names is None else names.classes, count, task, new_head)
    if not has_numbers():
        return _random(name, len(task.classes))
    folder = f"{torch.hub.get_dir()}/checkpoints"
    remedy = f"Put the file into {folder}, name it, checkpoint=FILE, or start from random weights, model.weights=null."
    with fetching(what, weights.url, remedy):
        network = torchvision.models.get_model(name, weights=weights.name)
    head, old = _head(network, count)
    if outputs is None:
        network.set_submodule(head, head_like(old, len(task.classes)))
    else:
        choose_outputs(network, head, outputs)
    return network


def _random(name: str, classes: int) -> nn.Module:
    """Make the network with random weights; without numbers if the default device is meta."""
    try:
        return torchvision.models.get_model(name, weights=None, num_classes=classes)
    except NotImplementedError:  # RegNet computes its widths by tensors
        with torch.device("cpu"):
            network = torchvision.models.get_model(name, weights=None, num_classes=classes)
        return network if has_numbers() else network.to("meta")


def _head(network: nn.Module, count: int) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Last layer with so many outputs, and its name."""
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [layer for layer in layers if len(layer[1].weight) == count][-1]


def _drop_auxiliary_heads(network: nn.Module) -> None:
    if getattr(network, "aux_logits", False):
        setattr(network, "aux_logits", False)  # noqa: B010
        for head in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, head):
                setattr(network, head, None)


def _replace_first_convolution(network: nn.Module, channels: int, pretrained: bool) -> None:
    name, old = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    if pretrained:
        with torch.no_grad():
            total = old.weight.sum(1, keepdim=True)
            new.weight.copy_((total / channels).expand_as(new.weight))
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
    network.set_submodule(name, new)
