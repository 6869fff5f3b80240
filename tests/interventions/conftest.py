"""A small classifier and images in whose world interventions are made."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.contracts import Batch, Classifier, Context, Task

SIZE = (14, 17)  # neither square nor a multiple of a grid


@pytest.fixture
def context() -> Context:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    classifier = Classifier(network, Task("multiclass", ("a", "b", "c")), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()
    image = torch.rand(4, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Context(Batch(image, torch.tensor([0, 1, 2, 0]), torch.arange(30, 34), torch.arange(4)), classifier)
