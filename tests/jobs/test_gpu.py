"""What only a GPU runs, or is skipped by name."""

import pytest
import torch

import dovision as dv

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
WITHIN = 1e-4  # of a probability, between float32 kernels of two devices
GRID = dv.PixelGrid(3, 3)
IMAGES = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@needs_gpu
def test_effects_on_a_gpu_are_those_of_the_cpu():
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(400, 3))
    classifier = dv.wrap(torch.nn.Sequential(*layers), 3)
    here = dv.effects(classifier, IMAGES, GRID).to_pandas()["mean"].to_numpy()
    there = dv.effects(classifier.cuda(), IMAGES.cuda(), GRID).to_pandas()["mean"].to_numpy()
    assert abs(here - there).max() < WITHIN
