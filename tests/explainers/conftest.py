"""Small classifiers: one of a known kind, and plain ones whose layers and answers are easily known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from dovision.interfaces import Classifier
from dovision.models.small_resnet import SmallResNet
from dovision.types import Batch, Task

CLASSES = ("a", "b", "c")


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = SmallResNet(3, 4, len(CLASSES))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    nn.init.normal_(network.linear.weight)
    return network


class SmallTransformer(nn.Module):
    """Patches of 4 x 4 pixels, a class token, and two blocks of torch's."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 4, stride=4))
        self.first = nn.Parameter(torch.randn(1, 1, width))
        settings = {"dim_feedforward": 2 * width, "dropout": 0.0, "batch_first": True}
        self.stage1 = nn.TransformerEncoderLayer(width, 2, **settings)
        self.stage2 = nn.TransformerEncoderLayer(width, 2, **settings)
        self.linear = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.stem(image).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(image), -1, -1), patches], 1)
        return self.linear(self.stage2(self.stage1(tokens))[:, 0])


def small_transformer() -> nn.Module:
    torch.manual_seed(0)
    network = SmallTransformer(3, 8, len(CLASSES))
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_weight)
    nn.init.normal_(network.linear.weight)
    return network


def vision_transformer(layers: int = 2) -> Classifier:
    """Of torchvision, in 4 x 4 patches."""
    torch.manual_seed(1)
    network = VisionTransformer(32, 8, num_layers=layers, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3)
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_weight)
    nn.init.normal_(network.heads.head.weight)
    return Classifier(network, Task("multiclass", CLASSES), (0.5,), (0.2,)).eval()


def classifier_of(network: nn.Module, kind: str = "multiclass") -> Classifier:
    return Classifier(network, Task(kind, CLASSES), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()


@pytest.fixture
def batch(classifier: Classifier) -> Batch:
    random = torch.Generator().manual_seed(1)
    image = torch.rand(4, 3, 32, 36, generator=random)
    image[0] = 0
    label = torch.tensor([0, 1, 2, 1])
    if classifier.task.multilabel:
        label = torch.nn.functional.one_hot(label).float()
    return Batch(image, label, torch.arange(40, 44), torch.arange(4))


@pytest.fixture
def target() -> Tensor:
    return torch.tensor([2, 1, 0, 1])


def _convolutional(inplace: bool = False) -> Classifier:
    """Two convolutions with a ReLU after each, `0` to `3`, and a linear layer on the mean, `6`."""
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(inplace), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(inplace)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, len(CLASSES)))
    nn.init.normal_(network[6].weight, std=20)
    return classifier_of(network)


def _linear(weight: Tensor) -> Classifier:
    """Logits sum of weight * image, for independent labels; weight of shape (K, C, H, W)."""
    layer = nn.Linear(weight[0].numel(), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(1))
    task = Task("multilabel", CLASSES[: len(weight)])
    return Classifier(nn.Sequential(nn.Flatten(), layer), task, (0.0,), (1.0,)).eval()


def _images(count: int, *shape: int) -> Batch:
    image = torch.rand(count, *shape, generator=torch.Generator().manual_seed(5))
    number = torch.arange(count)
    return Batch(image, number % 2, number, number)


@pytest.fixture
def convolutional() -> Callable[..., Classifier]:
    return _convolutional


@pytest.fixture
def linear() -> Callable[[Tensor], Classifier]:
    return _linear


@pytest.fixture
def images() -> Callable[..., Batch]:
    return _images
