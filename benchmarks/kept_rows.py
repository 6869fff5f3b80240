"""Rows and megabytes of the tables of effects by `evaluation.rows`: 14 labels, 196 cells, a few films a patient.

    python benchmarks/kept_rows.py [--images 400] [--patients 100]

The films are noise and the network is drawn, so that numbers compress as badly as they can.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from dovision import Classifier, EffectEvaluation, EffectOptions, PixelGrid, Task
from dovision.config.row_choices import ROW_CHOICES
from dovision.measurement.callback import ClassifierUnderTest
from dovision.results.effect_sums import SUMS
from dovision.results.tables import EFFECTS
from dovision.types import Batch

TASK = Task("multilabel", tuple(f"label {number}" for number in range(14)))
SIDE, CELLS = 28, 14
PREVALENCE = 0.06  # of a label, about that of ChestX-ray14


class Films(Dataset[Batch]):
    """Noise with labels, of which each patient has a few films."""

    def __init__(self, images: int, patients: int) -> None:
        self.images, self.patients = images, patients

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, number: int) -> Batch:
        random = torch.Generator().manual_seed(number)
        label = (torch.rand(len(TASK.classes), generator=random) < PREVALENCE).float()
        image = torch.rand(1, SIDE, SIDE, generator=random)
        return Batch(image, label, torch.tensor(number), torch.tensor(number % self.patients))


def network() -> nn.Module:
    """Logits of about the prevalence of the labels."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.Tanh(), nn.Linear(16, len(TASK.classes)))
    nn.init.constant_(layers[-1].bias, -3.0)
    return layers.eval()


def table(images: int, patients: int) -> list[str]:
    """A line for each choice: rows of effects, rows of sums, MB of both."""
    lines = ["| evaluation.rows | rows of effects | rows of sums | MB | share |", "| --- | --- | --- | --- | --- |"]
    first = 0.0
    for choice in ROW_CHOICES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            classifier = Classifier(network(), TASK, [0.0], [1.0])
            options = EffectOptions(rows=choice)
            effects = EffectEvaluation(PixelGrid(CELLS, CELLS), folder, classifier=classifier, options=options)
            trainer = pl.Trainer(
                accelerator="cpu", inference_mode=False, callbacks=[effects], logger=False, enable_progress_bar=False
            )
            loader = DataLoader(Films(images, patients), batch_size=64)
            trainer.test(ClassifierUnderTest(classifier), loader, verbose=False)
            rows = [pq.read_metadata(folder / each).num_rows for each in (EFFECTS, SUMS)]
            size = sum((folder / each).stat().st_size for each in (EFFECTS, SUMS)) / 1e6
            first = first or size
            lines.append(f"| {choice} | {rows[0]:,} | {rows[1]:,} | {size:.2f} | {size / first:.3f} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--patients", type=int, default=100)
    options = parser.parse_args()
    print("\n".join(table(options.images, options.patients)))
