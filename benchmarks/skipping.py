"""Time that is saved where an intervention changes nothing: black cells on the digits of MNIST.

    python benchmarks/skipping.py --mnist data/mnist --images 64 --grid 7
    python benchmarks/skipping.py --mnist data/mnist --images 64 --tables

Prints the share of edits that took no pass, the seconds with and without skipping, alternating, and fails unless the
logits of all other edits are equal to the bit. With --tables it prints the SHA-256 of the tables that an evaluation
writes, with and without skipping, in batches of each of --batch-sizes images.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dovision.datasets.mnist import MNIST
from dovision.evaluation.effects import EffectEvaluation, EffectOptions
from dovision.interfaces import Classifier
from dovision.interventions.pixel_grid import PixelGrid
from dovision.io.files import sha256
from dovision.models.small_cnn import small_cnn
from dovision.propagation import Outcome, Propagation, edits
from dovision.store.resumable_writer import Resume
from dovision.store.tables import EFFECTS, SAMPLES
from dovision.training.image_classifier import ImageClassifier
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


def tables(classifier: Classifier, grid: int, batch: Batch, batch_size: int, skips: bool) -> tuple[str, ...]:
    """SHA-256 of the tables of effects and of samples that an evaluation writes."""
    plumbing = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "inference_mode")
    trainer = pl.Trainer(accelerator="cpu", **dict.fromkeys(plumbing, False))  # type: ignore[arg-type]
    items = [batch.rows(row) for row in range(len(batch.image))]
    with tempfile.TemporaryDirectory() as folder:
        trainer.callbacks.append(  # type: ignore[attr-defined]
            EffectEvaluation(
                PixelGrid(grid, grid), folder, None, classifier, options=EffectOptions(resume=Resume(len(items)))
            )
        )
        with nullcontext() if skips else patch.object(edits, "_differs", all_changed):
            trainer.test(ImageClassifier(classifier), DataLoader(items, batch_size=batch_size), verbose=False)
        return tuple(sha256(Path(folder, name)) for name in (EFFECTS, SAMPLES))


def time_both(classifier: Classifier, grid: int, batch: Batch, rounds: int) -> None:
    """Print the share that is skipped, and the seconds with and without."""
    propagation = Propagation(classifier, PixelGrid(grid, grid))
    runs = (partial(propagation, batch), partial(without_skipping, propagation, batch))
    outcome, whole = (run() for run in runs)
    made = (outcome.treated != outcome.control.unsqueeze(1)).any(-1)
    assert torch.equal(outcome.control, whole.control)
    assert torch.equal(outcome.treated[made], whole.treated[made])
    skipping, all_run = (found.wall for found in medians(runs, rounds))
    share = outcome.skipped / made.numel()
    print(
        f"{len(batch.image)} images: {share:.2f} of {made.numel()} edits skipped, {skipping:.4f} s, without "
        f"{all_run:.4f} s ({all_run / skipping:.2f} x), the others equal to the bit; largest change of a logit by an "
        f"edit that changes nothing, if it is run: {(whole.treated - outcome.treated).abs().max().item():.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, default=Path("data/mnist"), help="the folder that holds MNIST/raw")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 7, 64])
    parser.add_argument("--grid", type=int, default=7, help="cells a side")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs, of which the median counts")
    parser.add_argument("--tables", action="store_true", help="print the digests of the tables in place of seconds")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 16, 7, 1], help="of the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    classifier = small_cnn((1, 28, 28), "multiclass", [str(digit) for digit in range(10)], (0.1307,), (0.3081,)).eval()
    for images in options.images:
        batch = digits(options.mnist, images)
        if not options.tables:
            time_both(classifier, options.grid, batch, options.rounds)
            continue
        for size in options.batch_sizes:
            for skips in (True, False):
                effects, samples = tables(classifier, options.grid, batch, size, skips)
                what = "skipped" if skips else "all run"
                print(f"{images} images in {size}s, {what}: effects {effects[:16]}, samples {samples[:16]}", flush=True)


if __name__ == "__main__":
    main()
