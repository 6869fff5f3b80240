"""The callback that reads detectors on validation and test images, clean and in each adversarial world."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from dovision.contracts import Attack, Batch, Classifier, Detector
from dovision.learning.gradient_health import GradientHealth
from dovision.results.detection_tables import TEST, VAL
from dovision.results.detector_reads import READS, reads_path, reads_schema
from dovision.results.files import make_folder
from dovision.results.tables import CLEAN, TableWriter

log = logging.getLogger(__name__)
TIMED = 0  # the batch on which costs are measured, after a first read
SPLITS = (VAL, TEST)  # in the order of the dataloaders


class World(NamedTuple):
    """The images of a batch as they are, or attacked, and how the classifier fares on them."""

    attack: str
    eps: float
    batch: Batch
    correct: Tensor  # (B,) bool


class Detection(Callback):
    """Attack the images of the two dataloaders, val and test, and let each detector read them.

    An attack that fails is left out from then on, and named in `failed`; the others go on.

    Args:
        folder: the run directory; a table a detector is written below it.
        classifier: the one under attack.
        inserted: the same with its autoencoder, or None.
        worlds: attacks by name, each with its epsilons.
        detectors: by name.
    """

    def __init__(
        self,
        folder: Path,
        classifier: Classifier,
        inserted: Classifier | None,
        worlds: Mapping[str, Attack],
        detectors: Mapping[str, Detector],
    ) -> None:
        self.folder = folder
        self.classifier = classifier
        self.inserted = inserted
        self.worlds = worlds
        self.detectors = detectors
        self.failed: dict[str, str] = {}
        self.milliseconds: dict[str, float] = {}
        self.health = GradientHealth()

    @property
    def costs(self) -> dict[str, dict[str, float]]:
        """What a detector needs for one image: forward passes, and the milliseconds that it took here."""
        return {
            name: {"passes": self.detectors[name].passes, "milliseconds": round(milliseconds, 3)}
            for name, milliseconds in self.milliseconds.items()
        }

    @property
    def queries(self) -> dict[str, dict[str, float]]:
        """Forward passes that an image has cost each attack, by epsilon."""
        return {name: {f"{eps:g}": q for eps, q in attack.queries.items()} for name, attack in self.worlds.items()}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.inserted is not None:
            self.inserted.to(pl_module.device).eval()
        make_folder(self.folder / READS, setting="output_root")
        self._open = ExitStack()
        self.tables = {
            name: self._open.enter_context(TableWriter(reads_path(self.folder, name), reads_schema()))
            for name in self.detectors
        }
        self.progress = self._open.enter_context(tqdm(unit=" images", disable=not sys.stderr.isatty()))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.health.add(batch, self.classifier)
        worlds = list(self._worlds(batch, outputs))
        for name, detector in self.detectors.items():
            for world in worlds:
                read = self._read(detector, world.batch)
                self.tables[name].write(_rows(SPLITS[dataloader_idx], world, worlds[0], read))
            if batch_idx == TIMED:
                self.milliseconds[name] = self._timed(detector, batch)
        self.progress.update(len(batch.image))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._open.close()
        self.health.warn()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_open"):
            self._open.__exit__(type(exception), exception, exception.__traceback__)

    def _worlds(self, batch: Batch, logits: Tensor) -> Iterator[World]:
        yield World(CLEAN, 0.0, batch, self._correct(logits, batch))
        for name, attack in self.worlds.items():
            for eps in attack.eps:
                if name in self.failed:
                    break
                try:
                    attacked = batch._replace(image=attack(batch, self.classifier, eps))
                except (ValueError, RuntimeError) as error:
                    self.failed[name] = str(error)
                    log.warning("the attack %s failed, and is left out: %s", name, error)
                    break
                yield World(name, eps, attacked, self._correct(_logits(self.classifier, attacked.image), batch))

    def _correct(self, logits: Tensor, batch: Batch) -> Tensor:
        task = self.classifier.task
        return task.correct(task.probability(logits), batch.label).cpu()

    @torch.no_grad()
    def _read(self, detector: Detector, batch: Batch) -> Tensor:
        return detector.read(batch, self.classifier, self.inserted).detach().float().cpu()

    def _timed(self, detector: Detector, batch: Batch) -> float:
        """Milliseconds that reading an image takes; on a copy of the images, of which nothing is remembered."""
        copy = batch._replace(image=batch.image.clone())
        started = time.perf_counter()
        self._read(detector, copy)
        return 1000 * (time.perf_counter() - started) / len(batch.image)


@torch.no_grad()
def _logits(classifier: Classifier, image: Tensor) -> Tensor:
    return classifier(image)


def _rows(split: str, world: World, clean: World, read: Tensor) -> pa.RecordBatch:
    count = len(read)
    success = pa.nulls(count, pa.bool_())
    if world is not clean:
        success = pa.array((clean.correct & ~world.correct).numpy(), mask=~clean.correct.numpy())
    columns = {
        "sample": world.batch.sample.cpu().numpy(),
        "split": _name(split, count),
        "group": world.batch.group.cpu().numpy(),
        "attack": _name(world.attack, count),
        "eps": [world.eps] * count,
        "correct": world.correct.numpy(),
        "success": success,
        "read": pa.array(list(read.numpy()), pa.list_(pa.float32())),
    }
    return pa.RecordBatch.from_pydict(columns, schema=reads_schema())


def _name(name: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([name], pa.string()))
