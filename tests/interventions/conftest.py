"""A small classifier and images in whose condition interventions are made, and datasets of which objects are known."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from dovision.datasets.phantom import Phantom
from dovision.interfaces import Classifier, Context, Counterfactuals, Images
from dovision.types import CODE, SOURCE_BOXES, Batch, Task

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
    """Eight test films; between them they have each kind of object, and the last has none but the rib."""
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


@pytest.fixture(scope="session")
def transformer(phantom: Phantom) -> Classifier:
    """Of the films, in 8 x 8 patches; grey is shown to it as three channels."""
    torch.manual_seed(0)
    network = VisionTransformer(64, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=2)
    nn.init.normal_(network.heads.head.weight)
    return Classifier(network, phantom.task, (0.5,) * 3, (0.25,) * 3).eval()


class Boxed(Images):
    """A dataset of which only the boxes are known."""

    def __init__(self, rows: Sequence[tuple[object, ...]], shape: tuple[int, ...] = (1, 12, 12)) -> None:
        self.rows = list(rows)
        self.shape = shape

    def source(self, split):
        raise NotImplementedError

    def source_table(self, split):
        raise NotImplementedError

    def source_boxes(self, split):
        return pd.DataFrame(self.rows, columns=SOURCE_BOXES)

    def order(self, split):  # the rows themselves, so that a test can name them
        return np.arange(1 + max((row[0] for row in self.rows), default=0))


class Lamps(Boxed, Counterfactuals):
    """Black images of which each object is a white box; counts how often it draws."""

    draws = 0

    def source_objects(self, split, row):
        return tuple(each[1] for each in self.rows if each[0] == row)

    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        self.draws += 1
        image = torch.zeros(self.shape)
        for number, obj, _, top, left, bottom, right in self.rows:
            if number == row and obj not in objects:
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
