"""A small network with an autoencoder, images on which it is sure, and images from between its classes."""

from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.types import Batch, Task

SHAPE = (1, 14, 14)  # channels, pixels, pixels


class Condition(NamedTuple):
    """A fitted classifier, and images that a detector should separate."""

    classifier: Classifier
    with_autoencoder: Classifier
    clean: Tensor  # (80, 1, 14, 14) a bright half, on which the classifier is sure
    attacked: Tensor  # (80, 1, 14, 14) the two classes laid over each other, and fine noise


def batch_of(image: Tensor, label: Tensor | None = None) -> Batch:
    number = torch.arange(len(image))
    return Batch(image, number % 2 if label is None else label, 40 + number, number)


def network(outputs: int) -> nn.Module:
    layers = {"conv1": nn.Conv2d(1, 6, 3), "norm1": nn.BatchNorm2d(6), "relu1": nn.ReLU(inplace=True)}
    layers |= {"conv2": nn.Conv2d(6, 8, 3, stride=2), "relu2": nn.ReLU(), "dropout": nn.Dropout()}
    layers |= {"flatten": nn.Flatten(), "linear": nn.Linear(8 * 5 * 5, outputs)}
    return nn.Sequential(OrderedDict(layers))


def made(kind: str, outputs: int = 3) -> tuple[Classifier, Classifier]:
    """A classifier of random weights, and the same with an autoencoder of random weights; double precision."""
    torch.manual_seed(0)
    task = Task(kind, tuple("abc"[:outputs]))
    classifier = Classifier(network(outputs), task, (0.5,), (0.25,)).double().eval()
    nn.init.uniform_(classifier.network.norm1.running_mean, -1, 1)
    nn.init.uniform_(classifier.network.norm1.running_var, 0.5, 2)
    autoencoder = ConvAutoencoder("norm1", [6, 4, 5, 6], code=2, kernel_size=1).double()
    with_autoencoder = insert(classifier, autoencoder, SHAPE)
    classifier.coded = (with_autoencoder,)
    return classifier, with_autoencoder


def images(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def halves(count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images whose left (0) or right (1) half is bright, and these numbers."""
    label = torch.arange(count) % 2
    bright = 0.7 + 0.2 * torch.rand(count, 1, 1, 1, generator=random)
    left = (torch.arange(14) < 7).float().expand(count, 1, 14, 14)
    half = torch.where(label.view(-1, 1, 1, 1) == 0, left, 1 - left)
    return (bright * half + 0.05 * torch.rand(count, *SHAPE, generator=random)).clamp(0, 1), label


@pytest.fixture(scope="session")
def condition() -> Condition:
    random = torch.Generator().manual_seed(5)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        classifier = Classifier(network(2), Task("multiclass", ("left", "right")), (0.5,), (0.25,))
        image, label = halves(256, random)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=0.01)
        for _ in range(20):
            loss = classifier.task.loss(classifier(image), label).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        autoencoder = ConvAutoencoder("norm1", [6, 4, 5, 6], code=2, kernel_size=1)
    with_autoencoder = insert(classifier, autoencoder, SHAPE)
    classifier.coded = (with_autoencoder,)
    clean, _ = halves(80, random)
    mixed = (clean + clean.flip(3)) / 2
    noise = 0.25 * (torch.rand(mixed.shape, generator=random) - 0.5).sign()
    return Condition(classifier.eval(), with_autoencoder.eval(), clean, (mixed + noise).clamp(0, 1))
