"""Print the share of edits on MNIST that change no pixel, and what leaving out their passes saves: 7 x 7 black cells.

python benchmarks/skipped_edits.py data            the folder of MNIST's files, as dataset.root
python benchmarks/skipped_edits.py data --images 500

Both ways measure the same images with the authors' network of random weights, in turn; seconds are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor

from dovision.datasets.mnist import MNIST
from dovision.interventions.fills import Constant
from dovision.interventions.pixel_grid import PixelGrid
from dovision.models.authors_mnist_cnn import authors_mnist_cnn
from dovision.propagation import Outcome, Propagation, edits
from dovision.types import Batch

CELLS = 7


def all_differ(new: Tensor, old: Tensor) -> Tensor:
    """In place of the comparison of an edit with what was there: all edits take a pass."""
    return torch.ones(len(new), dtype=torch.bool)


def measured(propagation: Propagation, batch: Batch, skips: bool) -> tuple[float, Outcome]:
    """Seconds, and the outcome."""
    with nullcontext() if skips else patch.object(edits, "_differs", all_differ):
        start = time.perf_counter()
        outcome = propagation(batch)
        return time.perf_counter() - start, outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    own = parser.parse_args()
    classes = [str(number) for number in range(10)]
    split = MNIST(own.root, "multiclass", classes, (1, 28, 28), 5000, 0, download=False).split("test")
    batch = Batch(*(torch.stack(fields) for fields in zip(*(split[row] for row in range(own.images)), strict=True)))
    torch.manual_seed(0)
    classifier = authors_mnist_cnn((1, 28, 28), "multiclass", classes, [0.1307], [0.3081]).eval()
    propagation = Propagation(classifier, PixelGrid(CELLS, CELLS, Constant(0.0)))
    runs = {skips: [measured(propagation, batch, skips) for _ in range(own.rounds + 1)][1:] for skips in (False, True)}
    seconds = {skips: statistics.median(second for second, _ in found) for skips, found in runs.items()}
    all_passes, fewer = (runs[skips][0][1] for skips in (False, True))
    share = fewer.skipped / (own.images * CELLS**2)
    print(f"{share:.1%} of {own.images * CELLS**2} edits change no pixel")
    print(f"{seconds[False]:.2f} s with all passes, {seconds[True]:.2f} s without theirs")
    print(f"largest difference of a logit: {(all_passes.treated - fewer.treated).abs().max().item():.2g}")


if __name__ == "__main__":
    main()
