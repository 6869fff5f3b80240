"""What only a GPU runs: by a fake one where its calls are what counts, and on a real one, or skipped by name."""

from __future__ import annotations

import pytest
import torch

import dovision as dv
from dovision.io.process_state import freeing_memory
from dovision.training.data_module import ImageDataModule
from dovision.types import Batch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
WITHIN = 1e-4  # of a probability, between float32 kernels of two devices
GRID = dv.PixelGrid(3, 3)
IMAGES = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def fake_gpu(monkeypatch) -> list[str]:
    """torch takes a GPU to be there; the names of the calls to it."""
    calls: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name in ("empty_cache", "reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda name=name: calls.append(name))
    return calls


class OnDevice:
    """A field of a batch that notes how it is moved."""

    def __init__(self) -> None:
        self.moved: list[tuple[torch.device, bool]] = []

    def to(self, device: torch.device, non_blocking: bool = False) -> OnDevice:
        self.moved.append((device, non_blocking))
        return self


def test_batches_are_pinned_where_there_is_a_gpu_and_copied_while_it_works(fake_gpu):
    images = dv.component("dataset", "digits")
    data = ImageDataModule(images, test_split="test", num_workers=0)
    assert data._loader(images.split("test"), 4).pin_memory
    fields = [OnDevice() for _ in Batch._fields]
    data.transfer_batch_to_device(Batch(*fields), torch.device("cuda", 0), 0)
    assert [field.moved for field in fields] == [[(torch.device("cuda", 0), True)]] * len(fields)


def test_memory_of_a_gpu_is_given_back_behind_a_part_that_frees_it(fake_gpu):
    with freeing_memory():
        pass
    assert {"empty_cache", "reset_peak_memory_stats"} <= set(fake_gpu)


@needs_gpu
def test_effects_on_a_gpu_are_those_of_the_cpu():
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(400, 3))
    classifier = dv.wrap(torch.nn.Sequential(*layers), 3)
    here = dv.effects(classifier, IMAGES, GRID).to_pandas()["mean"].to_numpy()
    there = dv.effects(classifier.cuda(), IMAGES.cuda(), GRID).to_pandas()["mean"].to_numpy()
    assert abs(here - there).max() < WITHIN


@needs_gpu
def test_a_pass_waits_for_no_gpu():
    classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3)), 3).cuda().eval()
    image = IMAGES.cuda()
    classifier(image)
    torch.cuda.set_sync_debug_mode("error")
    try:
        classifier(image)
    finally:
        torch.cuda.set_sync_debug_mode("default")
