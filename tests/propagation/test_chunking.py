"""Memory that tensors free is kept for those that follow, by glibc's own rule."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

import dovision as dv
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation, chunking
from dovision.types import Batch

PROGRAM = """
import resource
import torch
from torch import nn
import dovision as dv
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.zeros(size << 20, dtype=torch.uint8) for size in (20, 12, 30)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.use_deterministic_algorithms(True)
Propagation(dv.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2), PixelGrid(2, 2))
faults()
print(faults())
"""
PAGES = 62 >> 1  # of all blocks, if they are huge, as they are where the system makes them so


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_blocks_are_kept_once_an_effect_was_asked_for():
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=own, capture_output=True, text=True, check=True)
    assert int(done.stdout) < PAGES


def test_where_memory_has_no_room_for_a_block_an_effect_is_measured(monkeypatch):
    asked = []

    def refused(size, **options):
        asked.append(size)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "UntypedStorage", refused)
    chunking.keep_freed_blocks.cache_clear()
    propagation = Propagation(dv.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2), PixelGrid(2, 2))
    image = torch.rand(1, 1, 2, 2)
    assert propagation(Batch(image, *[torch.zeros(1, dtype=torch.int64)] * 3)).treated.isfinite().all()
    assert asked


def test_the_units_of_a_small_network_share_their_first_pass(monkeypatch):
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(7200, 2)
    )
    propagation = Propagation(dv.wrap(network, 2).requires_grad_(False), PixelGrid(7, 7))
    batch = Batch(torch.rand(1, 3, 32, 32), *[torch.zeros(1, dtype=torch.int64)] * 3)
    engine = propagation.prepare(batch)
    run, rows = engine.run, []
    monkeypatch.setattr(
        engine, "run", lambda clean, pairs, *others: rows.append(len(pairs)) or run(clean, pairs, *others)
    )
    propagation(batch)
    assert rows == [49]
