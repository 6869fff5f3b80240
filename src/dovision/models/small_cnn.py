"""A small convolutional network with dropout: two convolutions, two linear layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from dovision.interfaces import Classifier
from dovision.models._published import check_size
from dovision.types import Shape, Task

MAP = 12  # pixels, height and width of the map before the linear layers


class SmallCNN(nn.Sequential):
    """conv 32 - conv 64 - pool - linear 256 - linear K, kernels 3 x 3.

    The map is averaged to 12 x 12 before the linear layers, unless `size`, the height and width of the images, makes it
    so, as 28 x 28 does; one network takes any size from 28 on.
    """

    def __init__(self, channels: int, outputs: int, size: tuple[int, int]) -> None:
        pooled = tuple((length - 4) // 2 for length in size)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(channels, 32, 3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            average=nn.Identity() if pooled == (MAP, MAP) else nn.AdaptiveAvgPool2d(MAP),
            dropout1=nn.Dropout(0.25),
            flatten=nn.Flatten(),
            linear1=nn.Linear(64 * MAP * MAP, 256),
            relu3=nn.ReLU(),
            dropout2=nn.Dropout(0.5),
            linear2=nn.Linear(256, outputs),
        )
        super().__init__(layers)


def small_cnn(
    shape: Shape, task: str, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """The small convolutional network as a classifier.

    Args:
        shape: (C, H, W) of the images, H and W at least 28.
        task, classes, mean, std: as of `dovision.models`.

    Source: none; the widths are those of the MNIST network in the notebooks of arXiv:1902.03380, which has a second
    pooling and no dropout.

    Example:
        >>> import torch
        >>> classifier = dv.small_cnn((1, 28, 28), "multiclass", ["a", "b"], mean=[0.5], std=[0.5]).eval()
        >>> classifier(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 2])
    """
    channels, height, width = check_size("small_cnn", shape, 28)
    return Classifier(SmallCNN(channels, len(classes), (height, width)), Task(task, tuple(classes)), mean, std)
