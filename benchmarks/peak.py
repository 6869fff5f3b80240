"""Print the peak resident memory, in KiB, of this process while it measures a grid of cells on images at 224 pixels.

python benchmarks/peak.py vgg16 28 10 1          a model, cells a side, images, threads
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from peers import batch_of, classifier_of

TOGETHER = 5  # images in a batch

model, cells, images = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
propagation = Propagation(classifier_of(model), PixelGrid(cells, cells))
for first in range(0, images, TOGETHER):
    propagation(batch_of(min(TOGETHER, images - first)))
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory, from before the exec
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
