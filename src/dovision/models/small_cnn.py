"""A small convolutional network with dropout: two convolutions, two linear layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.types import Shape, Task

MAP = 12  # pixels, height and width of the map before the linear layers


class SmallCNN(nn.Module):
    """conv 32 - conv 64 - pool - linear 256 - linear K, kernels 3 x 3.

    The map is averaged to 12 x 12 before the linear layers, unless `size`, the height and width of the images, makes it
    so, as 28 x 28 does; one network takes any size from 28 on.
    """

    def __init__(self, channels: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        pooled = tuple((length - 4) // 2 for length in size)
        self.average = nn.Identity() if pooled == (MAP, MAP) else nn.AdaptiveAvgPool2d(MAP)
        self.dropout1 = nn.Dropout(0.25)
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(64 * MAP * MAP, 256)
        self.relu3 = nn.ReLU()
        self.dropout2 = nn.Dropout(0.5)
        self.linear2 = nn.Linear(256, outputs)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.relu2(self.conv2(self.relu1(self.conv1(image))))
        hidden = self.dropout1(self.average(self.pool(hidden)))
        hidden = self.dropout2(self.relu3(self.linear1(self.flatten(hidden))))
        return self.linear2(hidden)


def small_cnn(
    shape: Shape, task: str, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """The small convolutional network as a classifier.

    Args:
        shape: (C, H, W) of the images, H and W at least 28.
        task: multiclass or multilabel.
        classes: names, one an output.
        mean, std: one number, or one a channel, in pixel units.

    Source: none; the widths are those of the MNIST network in the notebooks of arXiv:1902.03380, which has a second
    pooling and no dropout.
    """
    channels, height, width = shape
    for name, length in (("height", height), ("width", width)):
        checks.at_least(f"small_cnn's image {name}", length, 28, "Use a larger image, or another model.")
    return Classifier(SmallCNN(channels, len(classes), (height, width)), Task(task, tuple(classes)), mean, std)
