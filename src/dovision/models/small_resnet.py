"""A small residual network with global average pooling: fit in minutes on a CPU, with maps fine enough for CAM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.types import Shape, Task


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, value: Tensor) -> Tensor:
        hidden = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(value)))))
        return self.relu2(hidden + self.shortcut(value))


class SmallResNet(nn.Sequential):
    """Stem and three stages of residual blocks, the last two of stride 2: a stem of stride 2 makes 12 of 96 pixels.

    With one block a stage is the block itself, which keeps the names of its layers.
    """

    def __init__(self, channels: int, width: int, outputs: int, blocks: int = 1, stem_stride: int = 2) -> None:
        convolution = nn.Conv2d(channels, width, 3, stem_stride, padding=1, bias=False)
        layers = OrderedDict(
            stem=nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()),
            stage1=_residuals(width, width, 1, blocks),
            stage2=_residuals(width, 2 * width, 2, blocks),
            stage3=_residuals(2 * width, 4 * width, 2, blocks),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(4 * width, outputs),
        )
        super().__init__(layers)


def _residuals(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Module:
    first = Residual(inputs, outputs, stride)
    return nn.Sequential(first, *(Residual(outputs, outputs, 1) for _ in range(blocks - 1))) if blocks > 1 else first


def small_resnet(
    width: int,
    shape: Shape,
    task: str,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    blocks: int = 1,
    stem_stride: int = 2,
) -> Classifier:
    """A small residual network as a classifier.

    Args:
        width: channels of the first stage; the third has four times as many.
        shape: (C, H, W) of the images, any size from 8 on.
        task, classes, mean, std: as of `dovision.models`.
        blocks: residual blocks a stage; with three and a stem of stride 1 it is the source's ResNet-20, but for
            projected shortcuts.
        stem_stride: of the first convolution; 1 for images of 32 pixels.

    Source: He et al., Deep residual learning, arXiv:1512.03385.

    Example:
        >>> import torch
        >>> classifier = dv.small_resnet(8, (1, 32, 32), "multiclass", ["a", "b"], mean=[0.5], std=[0.5]).eval()
        >>> classifier(torch.rand(2, 1, 32, 32)).shape
        torch.Size([2, 2])
    """
    checks.positive_int("model.width", width, 1024)
    checks.positive_int("model.blocks", blocks, 64)
    checks.positive_int("model.stem_stride", stem_stride, 2)
    network = SmallResNet(shape[0], width, len(classes), blocks, stem_stride)
    return Classifier(network, Task(task, tuple(classes)), mean, std)
