"""A small network with everything that an attack could disturb, and images for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.contracts import Batch, Classifier, Task

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
