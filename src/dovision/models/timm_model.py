"""Any classification network of timm, with any number of channels and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dovision import checks
from dovision.interfaces import Classifier
from dovision.models._published import fetching, has_numbers
from dovision.models._same_padding import fix_same_padding
from dovision.types import Shape, Task


def timm_model(
    name: str,
    pretrained: bool,
    shape: Shape,
    task: str,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
) -> Classifier:
    """A timm network as a classifier. Needs the extra timm.

    Args:
        name: as timm names it, such as resnet18 or vit_tiny_patch16_224.augreg_in21k.
        pretrained: start from timm's weights for that name. The head is kept where it fits the classes, and initialised
            otherwise.
        shape: (C, H, W) of the images. With pretrained weights, the first convolution's are summed over colours for one
            channel, as if the grey image were given three times. A network made for one size is made for this one.
        task, classes, mean, std: as of `dovision.models`.

    Raises:
        ValueError: timm has no network, or no weights, of that name.
        ConnectionError: the weights are not on this machine, and cannot be downloaded.
    """
    timm = checks.import_extra("timm", "timm")
    known = [*timm.list_models(), *timm.list_models(pretrained=True)]
    if name not in known:
        raise ValueError(f"model.name must be one of timm.list_models(), got {name!r}.{checks.suggestion(name, known)}")
    if pretrained and not timm.is_model_pretrained(name):
        raise ValueError(f"timm has no weights of {name}. Start from random ones: model.pretrained=false.")
    facts = timm.get_pretrained_cfg(name)
    settings: dict[str, Any] = {"in_chans": shape[0], "num_classes": len(classes)}
    if facts.fixed_input_size:
        settings["img_size"] = tuple(shape[1:])
    remedy = "Fetch them once where there is a network and copy the cache (the folder HF_HOME) here, or start from "
    with fetching(f"of {name}", facts.hf_hub_id or facts.url, f"{remedy}random weights: model.pretrained=false."):
        network = timm.create_model(name, pretrained=pretrained and has_numbers(), **settings)
    fix_same_padding(network, shape)
    return Classifier(network, Task(task, tuple(classes)), mean, std)
