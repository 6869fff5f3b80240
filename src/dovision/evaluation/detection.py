"""The callback that reads detectors on validation and test images, clean and in each adversarial condition."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from dovision.evaluation.callback import Evaluation, round_to_8_bits
from dovision.evaluation.condition import Condition, attack_rows, read_rows
from dovision.evaluation.gradient_health import GradientHealth
from dovision.interfaces import Attack, Classifier, Detector
from dovision.io.text_files import make_folder
from dovision.store.adversarial_cache import Keeper
from dovision.store.detection_tables import (
    ATTACKS,
    READS,
    READS_ROW_GROUP,
    TEST,
    VAL,
    attacks_schema,
    reads_path,
    reads_schema,
)
from dovision.store.tables import CLEAN, TableWriter
from dovision.types import Batch

log = logging.getLogger(__name__)
TIMED = 0  # the batch on which costs are measured, after a first read
DETECTION_SPLITS = (VAL, TEST)  # in the order of the dataloaders


class Detection(Evaluation):
    """Attack the images of the two dataloaders, val and test, and let each detector read them.

    An attack that fails is left out from then on, and named in `failed`; the others go on, and without any it ends.

    Args:
        folder: the run directory; attacks.parquet and a table a detector are written there.
        classifier: the one under attack.
        with_autoencoder: the same with its autoencoder, or None.
        attacks: by name, each with its epsilons.
        detectors: by name.
        store_adversarial: whether all attacked images are saved, as they are.
    """

    def __init__(
        self,
        folder: Path,
        classifier: Classifier,
        with_autoencoder: Classifier | None,
        attacks: Mapping[str, Attack],
        detectors: Mapping[str, Detector],
        store_adversarial: bool = False,
    ) -> None:
        super().__init__(classifier)
        self.folder = folder
        self.with_autoencoder = with_autoencoder
        self.attacks = attacks
        self.detectors = detectors
        self.store_adversarial = store_adversarial
        self.failed: dict[str, str] = {}
        self.milliseconds: dict[str, float] = {}
        self.health = GradientHealth()

    @property
    def record(self) -> dict[str, Any]:
        """Facts for run.json: detectors' passes and milliseconds for an image, attacks' passes, those that failed."""
        costs = {
            name: {"passes": self.detectors[name].passes, "milliseconds": round(milliseconds, 3)}
            for name, milliseconds in self.milliseconds.items()
        }
        queries = {name: {f"{eps:g}": q for eps, q in attack.queries.items()} for name, attack in self.attacks.items()}
        return {
            "detector_costs": costs,
            "condition_queries": queries,
            "condition_dead_gradients": self.health.share,
            "failed_attacks": self.failed,
        }

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_test_start(trainer, pl_module)
        if self.with_autoencoder is not None:
            self.with_autoencoder.to(pl_module.device).eval()
        make_folder(self.folder / READS, setting="output_root")
        self.keepers = {
            name: self.opened(Keeper(self.folder, name, attack, self.images))
            for name, attack in self.attacks.items()
            if self.store_adversarial
        }
        self.attack_table = self.opened(TableWriter(self.folder / ATTACKS, attacks_schema()))
        self.tables = {
            name: self.opened(TableWriter(reads_path(self.folder, name), reads_schema(), READS_ROW_GROUP))
            for name in self.detectors
        }
        self.progress = self.stage("detection", "images", self.images)

    def measure(self, batch: Batch, logits: Tensor, batch_idx: int, dataloader_idx: int) -> None:
        self.health.add(batch, self.classifier)
        conditions = list(self._conditions(batch, logits))
        split = DETECTION_SPLITS[dataloader_idx]
        for condition in conditions[1:]:
            rounded = self.correct(self.logits(round_to_8_bits(condition.batch.image)), batch)
            self.attack_table.write(attack_rows(split, condition, conditions[0], rounded))
            if condition.attack in self.keepers:
                self.keepers[condition.attack].add(condition.eps, condition.batch)
        for name, detector in self.detectors.items():
            for condition in conditions:
                self.tables[name].write(
                    read_rows(split, condition, conditions[0], self._read(detector, condition.batch))
                )
            if batch_idx == TIMED:
                self.milliseconds[name] = self._timed(detector, batch)
        self.progress.advance(len(batch.image))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_test_end(trainer, pl_module)
        self.health.warn()

    def _conditions(self, batch: Batch, logits: Tensor) -> Iterator[Condition]:
        yield self.condition(CLEAN, 0.0, batch, logits)
        for name, attack in self.attacks.items():
            for eps in attack.eps:
                if name in self.failed:
                    break
                try:
                    attacked = batch._replace(image=attack(batch, self.classifier, eps))
                except Exception as error:  # whatever a foreign library raises: the other attacks go on
                    self.failed[name] = str(error) or type(error).__name__
                    log.warning("the attack %s failed, and is left out: %s", name, self.failed[name])
                    self._require_attacks()
                    break
                yield self.condition(name, eps, attacked, self.logits(attacked.image))

    def _require_attacks(self) -> None:
        if len(self.failed) == len(self.attacks):
            got = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise ValueError(f"detection needs an attack that runs, got failures alone ({got}). Choose other attacks.")

    @torch.no_grad()
    def _read(self, detector: Detector, batch: Batch) -> Tensor:
        return detector.read(batch, self.classifier, self.with_autoencoder).detach().float().cpu()

    def _timed(self, detector: Detector, batch: Batch) -> float:
        """Milliseconds that reading an image takes; on a copy of the images, of which nothing is remembered."""
        copy = batch._replace(image=batch.image.clone())
        started = time.perf_counter()
        self._read(detector, copy)
        return 1000 * (time.perf_counter() - started) / len(batch.image)
