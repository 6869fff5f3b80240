"""A quick watch on the engine's speed; `table.py` in this folder has the comparison with the peers."""

from __future__ import annotations

import pytest
import torch
import torchvision

from dovision.interfaces import Classifier
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from dovision.types import Batch, Task


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_large"])
def test_forty_nine_cells_of_one_image(benchmark, name):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=2)
    classifier = Classifier(network, Task("multiclass", ("no", "yes")), (0.5,), (0.25,)).eval()
    zero = torch.zeros(1, dtype=torch.int64)
    batch = Batch(torch.rand(1, 3, 224, 224), zero, zero, zero)
    propagation = Propagation(classifier, PixelGrid(7, 7))
    propagation(batch)
    outcome = benchmark.pedantic(propagation, args=(batch,), rounds=5)
    assert outcome.treated.shape == (1, 49, 2)
