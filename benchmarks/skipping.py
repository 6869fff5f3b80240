"""Time that is saved by edits that change nothing: black cells on the digits of MNIST.

    python benchmarks/skipping.py --mnist data/mnist --images 64 --grid 7

Prints the share of edits that took no pass, the seconds with and without it, alternating, and fails unless both
outcomes are equal to the bit.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from dovision.datasets.mnist import MNIST
from dovision.interventions.pixel_grid import PixelGrid
from dovision.models.small_cnn import small_cnn
from dovision.propagation import Outcome, Propagation, edits
from dovision.types import Batch
from peers import medians


def digits(root: Path, images: int) -> Batch:
    """The first test images."""
    names = [str(digit) for digit in range(10)]
    split = MNIST(str(root), "multiclass", names, (1, 28, 28), val_images=5000, seed=0, download=False).split("test")
    number = torch.arange(images)
    rows = [split[row] for row in range(images)]
    return Batch(torch.stack([row.image for row in rows]), torch.stack([row.label for row in rows]), number, number)


def all_changed(new: Tensor, old: Tensor) -> Tensor:
    """Stands in for the comparison of an edit with the value, shape (P,): each edit takes a pass."""
    return torch.ones(len(new), dtype=torch.bool)


def without_skipping(propagation: Propagation, batch: Batch) -> Outcome:
    with patch.object(edits, "_differs", all_changed):
        return propagation(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, default=Path("data/mnist"), help="the folder that holds MNIST/raw")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 7, 64])
    parser.add_argument("--grid", type=int, default=7, help="cells a side")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs, of which the median counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    classifier = small_cnn((1, 28, 28), "multiclass", [str(digit) for digit in range(10)], (0.1307,), (0.3081,)).eval()
    for images in options.images:
        batch = digits(options.mnist, images)
        propagation = Propagation(classifier, PixelGrid(options.grid, options.grid))
        runs = (partial(propagation, batch), partial(without_skipping, propagation, batch))
        outcome, whole = (run() for run in runs)
        made = (outcome.treated != outcome.control.unsqueeze(1)).any(-1)
        assert torch.equal(outcome.control, whole.control)
        assert torch.equal(outcome.treated[made], whole.treated[made])
        skipping, all_run = medians(runs, options.rounds)
        share = outcome.skipped / made.numel()
        print(
            f"{images} images: {share:.2f} of {made.numel()} edits skipped, {skipping:.4f} s, without {all_run:.4f} s "
            f"({all_run / skipping:.2f} x), equal to the bit; largest change of a logit by an edit that changes "
            f"nothing, if it is run: {(whole.treated - outcome.treated).abs().max().item():.1e}"
        )


if __name__ == "__main__":
    main()
