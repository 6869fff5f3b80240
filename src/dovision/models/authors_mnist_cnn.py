"""The MNIST network of the notebooks of arXiv:1902.03380: two convolutions, each pooled, and two linear layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from dovision.interfaces import Classifier
from dovision.models._published import check_size
from dovision.types import Shape, Task

SMALLEST = 10  # pixels: the last map is then 1 x 1


def authors_mnist_cnn(
    shape: Shape, task: str, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """conv 32 - ReLU - pool 2 - conv 64 - ReLU - pool 2 - linear 256 - ReLU - linear K; 3 x 3 kernels, no dropout.

    Args:
        shape: (C, H, W) of the images, H and W at least 10; MNIST's 28 x 28 give the source's linear layer of 1,600.
        task, classes, mean, std: as of `dovision.models`.

    Source: arXiv:1902.03380, mnist.ipynb of the authors' notebooks (jjaacckkyy63/Causal-Intervention-AE-wAdvImg).

    Example:
        >>> classes = [str(digit) for digit in range(10)]
        >>> dv.authors_mnist_cnn((1, 28, 28), "multiclass", classes, mean=[0.5], std=[0.5]).task.kind
        'multiclass'
    """
    channels, *size = check_size("authors_mnist_cnn", shape, SMALLEST)
    height, width = (((length - 2) // 2 - 2) // 2 for length in size)
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 32, 3),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(32, 64, 3),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        linear1=nn.Linear(64 * height * width, 256),
        relu3=nn.ReLU(),
        linear2=nn.Linear(256, len(classes)),
    )
    return Classifier(nn.Sequential(layers), Task(task, tuple(classes)), mean, std)
