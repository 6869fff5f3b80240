"""Memory that tensors free is kept for those that follow, by glibc's own rule."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from torch import nn
import dovision as dv
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.zeros(size << 20, dtype=torch.uint8) for size in (20, 12, 30)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "an effect":
    Propagation(dv.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2), PixelGrid(2, 2))
faults()
print(faults())
"""
PAGES = 62 << 8  # of all blocks


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
@pytest.mark.parametrize("before", ["an effect", "nothing"])
def test_blocks_are_kept_once_an_effect_was_asked_for(before):
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    program = [sys.executable, "-c", PROGRAM, before]
    faults = int(subprocess.run(program, env=own, capture_output=True, text=True, check=True).stdout)
    assert (faults < PAGES / 10) == (before == "an effect")
