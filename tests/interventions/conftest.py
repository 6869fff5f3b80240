"""A small classifier and images in whose world interventions are made, and datasets of which parts are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dovision.contracts import BOXES, CODE, Batch, Classifier, Context, Images, Task
from dovision.datasets.phantom import Phantom

SIZE = (14, 17)  # neither square nor a multiple of a grid


@pytest.fixture
def context() -> Context:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    classifier = Classifier(network, Task("multiclass", ("a", "b", "c")), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()
    image = torch.rand(4, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Context(Batch(image, torch.tensor([0, 1, 2, 0]), torch.arange(30, 34), torch.arange(4)), classifier)


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """Eight test films; between them they have each kind of part, and the last has none but the rib."""
    return Phantom("multiclass", ("healthy", "disease"), (1, 64, 64), "disease", 0.0, None, 1, 1, 8, seed=0)


@pytest.fixture(scope="session")
def films(phantom: Phantom) -> Context:
    """All eight, and a classifier of which the first layer is a code."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 5, 5, stride=2), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3)]
    classifier = Classifier(nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 2)), phantom.task, (0.5,), (0.25,))
    classifier.sites[CODE] = "1"
    split = phantom.split("test")
    batch = Batch(*map(torch.stack, zip(*(split[sample] for sample in range(len(split))), strict=True)))
    return Context(batch, classifier.eval())


class Boxed(Images):
    """A dataset of which only the boxes are known."""

    def __init__(self, rows: Sequence[tuple[object, ...]], shape: tuple[int, ...] = (1, 12, 12)) -> None:
        self.rows = list(rows)
        self.shape = shape

    def split(self, name):
        raise NotImplementedError

    def table(self, name):
        raise NotImplementedError

    def boxes(self, name):
        return pd.DataFrame(self.rows, columns=BOXES)


class Lamps(Boxed):
    """Black images of which each part is a white box; counts how often it draws."""

    draws = 0

    def parts(self, split, sample):
        return tuple(row[1] for row in self.rows if row[0] == sample)

    def counterfactual(self, split: str, sample: int, *parts: str) -> Tensor:
        self.draws += 1
        image = torch.zeros(self.shape)
        for number, part, _, top, left, bottom, right in self.rows:
            if number == sample and part not in parts:
                image[:, top:bottom, left:right] = 1
        return image


@pytest.fixture(scope="session")
def boxed() -> Callable[..., Images]:
    """From rows of boxes, and the images' shape, to a dataset that knows nothing else."""
    return Boxed


@pytest.fixture(scope="session")
def lamps() -> Callable[..., Images]:
    """From rows of boxes, and the images' shape, to a dataset that draws them."""
    return Lamps
