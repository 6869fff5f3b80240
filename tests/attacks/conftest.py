"""A small network with everything that an attack could disturb, and images for it."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dovision.interfaces import Classifier
from dovision.types import Batch, Task

CLASSES = ("a", "b", "c")


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(6 * 36, len(CLASSES))
    )
    nn.init.uniform_(network[1].running_mean, -1, 1)
    nn.init.uniform_(network[1].running_var, 0.5, 2)
    return network


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(small_network(), Task("multiclass", CLASSES), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()


@pytest.fixture
def multilabel_classifier() -> Classifier:
    return Classifier(small_network(), Task("multilabel", CLASSES), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()


@pytest.fixture
def batch() -> Batch:
    random = torch.Generator().manual_seed(1)
    image = torch.rand(8, 3, 8, 8, generator=random)
    image[0], image[1] = 0, 1  # nowhere to go but inwards
    label = torch.randint(len(CLASSES), (8,), generator=random)
    return Batch(image, label, torch.arange(40, 48), torch.arange(8))


@pytest.fixture
def multilabel_batch(batch: Batch) -> Batch:
    random = torch.Generator().manual_seed(2)
    return batch._replace(label=torch.randint(2, (8, len(CLASSES)), generator=random).float())


@pytest.fixture(scope="session")
def digits() -> Batch:
    """Some of scikit-learn's handwritten digits that no network of `trained` was fitted to."""
    image, label = _digits()
    rows = torch.arange(100)
    return Batch(image[-100:], label[-100:], rows, rows)


@pytest.fixture(scope="session")
def trained() -> list[Classifier]:
    """Two small networks that read handwritten digits."""
    image, label = _digits()
    return [_fit(image[:-100], label[:-100], seed) for seed in range(2)]


def _digits() -> tuple[Tensor, Tensor]:
    pixels, label = (torch.tensor(column) for column in load_digits(return_X_y=True))
    return (pixels.float() / 16).view(-1, 1, 8, 8), label


def _fit(image: Tensor, label: Tensor, seed: int) -> Classifier:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    classifier = Classifier(network, Task("multiclass", tuple("0123456789")), (0.3,), (0.4,))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(10):
        for rows in torch.randperm(len(image)).split(64):
            optimizer.zero_grad()
            classifier.task.loss(classifier(image[rows]), label[rows]).mean().backward()
            optimizer.step()
    return classifier.eval()
