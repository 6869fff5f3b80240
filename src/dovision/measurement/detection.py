"""The callback that reads detectors on validation and test images, clean and in each adversarial condition."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytorch_lightning as pl
import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.gradients import dead_gradients
from dovision.functional.norms import condition_name
from dovision.interfaces import Attack, Classifier, Detector
from dovision.io.forks import Forks, check_workers, result_of
from dovision.io.outcomes import ImagesLost
from dovision.io.progress import DISPLAY
from dovision.io.text_files import make_folder
from dovision.measurement.by_name import Named, named_components
from dovision.measurement.callback import Evaluation, round_to_8_bits
from dovision.measurement.condition import Condition, attack_rows, read_rows
from dovision.measurement.detector_fits import (
    Fitted,
    fit_detectors,
    write_scores,
)
from dovision.measurement.fit_protocol import conditions_of, fit_protocol
from dovision.measurement.gradient_health import GradientHealth, Queries, load_state, saved_state
from dovision.results.detection_summary import HEADLINES, WHOLE_FAMILY, read_detection, unseen, write_detection
from dovision.results.detection_tables import (
    ATTACKS,
    NOISES,
    READS,
    READS_FOLDER,
    READS_ROW_GROUP,
    TEST,
    TOGETHER,
    VAL,
    attack_rates,
    preferred,
)
from dovision.results.detector_comparison import write_comparison
from dovision.results.resumable_writer import NO_RESUME, ResumableWriter, Resume
from dovision.results.tables import CLEAN, RunTable
from dovision.types import Batch, Task

log = logging.getLogger(__name__)
DETECTION_SPLITS = (VAL, TEST)  # in the order of the dataloaders
WEAK = 0.05  # share of the images that were right on which an attack succeeds; below it, it is warned of
AHEAD = 2  # batches for each worker that are given out before the first of them is awaited


class _BatchRead(NamedTuple):
    """Results of one batch."""

    images: int
    rows: dict[RunTable, pa.RecordBatch]
    dead: Tensor  # (B,) of `dead_gradients`
    passes: dict[str, Counter[float]]  # of each attack, by epsilon
    failed: dict[str, str]  # attacks that have failed on this batch, and why

    def without(self, attacks: Collection[str]) -> _BatchRead:
        """Results without attacks that failed on an earlier batch, which a worker cannot know."""
        rows = self.rows
        for name in attacks:
            rows = {table: batch.filter(pc.not_equal(batch["attack"], name)) for table, batch in rows.items()}
        return self._replace(rows=rows)


@dataclass(frozen=True)
class DetectionOptions:
    """Options of `Detection` besides attacks, detectors and the classifier.

    Args:
        with_autoencoder: the classifier with its autoencoder, or None.
        families: attacks by family; an attack in none is a family of its own name. Supervised detectors are fitted to
            each family, to all, and to all but each.
        seen: by attack, those of its epsilons that detectors are fitted to; all of them if it is not there.
        controls: whether supervised detectors are fitted to permuted labels as well, and the sum of the features of
            monotone ones is a score.
        reference: the detector that the others are compared with in comparison.parquet, by name; None: no comparison.
        adaptive: gives rows of scores.parquet of an attacker who knows the detectors, from how they were fitted.
        whole: whether it is an error if some images of the dataloaders are not tested.
        workers: processes, each of one thread, that share the batches, the fits and the scores; the tables are those of
            one of them.
        resume: finished rows of earlier starts.
        reads: run directory whose reads detectors are fitted to and scored on, where the dataloaders have a share of
            the images alone; of which no summary is made. None: this one.

    Example:
        >>> import dovision as dv
        >>> dv.DetectionOptions(reference="max_softmax").reference
        'max_softmax'
    """

    with_autoencoder: Classifier | None = None
    families: Mapping[str, Sequence[str]] | None = None
    seen: Mapping[str, Sequence[float]] | None = None
    controls: bool = False
    reference: str | None = None
    adaptive: Callable[[Sequence[Fitted]], Iterable[pa.RecordBatch | pa.Table]] = lambda fits: ()
    whole: bool = False
    workers: int = 1
    resume: Resume = NO_RESUME
    reads: Path | None = None


class Detection(Evaluation):
    """Attack the images of two dataloaders, val and test, read them by each detector, and score test images.

    Detectors are fitted to images of val, and the headline numbers of detection.parquet are logged as
    "detection_METRIC/DETECTOR/ATTACK eps=EPSILON", such as "detection_auroc/max_softmax/pgd eps=0.1", and, of families
    that a detector was not fitted to, "detection_METRIC/DETECTOR/unseen_FAMILY". An attack that
    fails is left out from then on, and named in `failed`; the others go on, and without any it ends.

    Args:
        folder: the run directory; attacks.parquet, a table a detector, scores.parquet and detection.parquet are
            written there. None: the trainer's `log_dir`.
        attacks: by name, each with its epsilons, or names of those in `conf/attack`.
        detectors: by name, or names of those in `conf/detector`; they stay as they are.
        classifier, task, mean, std, network: of the classifier under attack, as of `Evaluation`.
        options: what detectors are fitted to and compared with, and who shares the work.

    Example:
        >>> import tempfile
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> attacks, detectors = {"fgsm": dv.FGSM(eps=0.1)}, {"entropy": dv.Entropy()}
        >>> callback = dv.Detection(tempfile.mkdtemp(), attacks, detectors, classifier)
        >>> callback.dataloaders
        2
    """

    dataloaders = 2

    def __init__(
        self,
        folder: Path | str | None = None,
        attacks: Named[Attack] = "pgd",
        detectors: Named[Detector] = "max_softmax",
        classifier: Classifier | None = None,
        *,
        task: str | Task = "multiclass",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        network: str | None = None,
        options: DetectionOptions | None = None,
    ) -> None:
        super().__init__(classifier, task, mean, std, network, folder)
        self.attacks = conditions_of(named_components("attack", attacks))
        self.detectors: dict[str, Detector] = named_components("detector", detectors)
        self.options = options = DetectionOptions() if options is None else options
        if options.reference is not None:
            checks.choice("reference", options.reference, self.detectors)
        epsilons = {name: attack.eps for name, attack in self.attacks.items()}
        norms = {name: attack.norm for name, attack in self.attacks.items() if attack.norm != "linf"}
        self.protocol = fit_protocol(epsilons, options.families, options.seen, options.controls)._replace(norms=norms)
        self.workers = checks.positive_int("workers", options.workers)
        self.tables = {name: READS.named(name) for name in self.detectors}
        self.failed: dict[str, str] = {}
        self.milliseconds: dict[str, float] = {}
        self.health = GradientHealth()
        self._forks: Forks[_BatchRead] | None = None
        self._pending: deque[Future[bytes]] = deque()  # batches given out to workers
        self.queries = {name: Queries(attack) for name, attack in self.attacks.items()}

    @property
    def record(self) -> dict[str, Any]:
        """Entries of run.json: passes and milliseconds per detector, passes per attack, failed attacks."""
        costs = {
            name: {"passes": self.detectors[name].passes, "milliseconds": round(milliseconds, 3)}
            for name, milliseconds in self.milliseconds.items()
        }
        return {
            "detector_costs": costs,
            "condition_queries": {name: counted.by_epsilon() for name, counted in self.queries.items()},
            "condition_dead_gradients": self.health.compute().item(),
            "failed_attacks": self.failed,
        }

    def start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch) -> None:
        if trainer.world_size > 1:
            raise ValueError(f"Detection needs one device, got {trainer.world_size}. Set devices=1.")
        check_workers("detection.workers", self.workers, pl_module.device.type)
        if self.options.with_autoencoder is not None:
            self.options.with_autoencoder.to(pl_module.device).eval()
        make_folder(self.folder / READS_FOLDER, setting="output_root")
        schemas = {ATTACKS: ATTACKS.schema(), **{table: table.schema() for table in self.tables.values()}}
        writer = ResumableWriter(self.folder, "detection", schemas, self.options.resume, row_group=READS_ROW_GROUP)
        self.writer = self.opened(writer)
        self.resumed = writer.done
        if writer.done:
            self._load_state(writer.state)
            for detector in self.detectors.values():  # which know their passes, and what they read, by a first image
                self._read(detector, batch.rows([0]))
        self.progress = self.stage("detection", "images", self.images, done=writer.done)

    def measure(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> None:
        work = DETECTION_SPLITS[dataloader_idx], batch, logits
        self._measure_costs(batch)  # by which engines are chosen, for all workers alike
        if self.workers == 1:
            self._take(self._read_batch(*work))
            return
        if self._forks is None:
            self._forks = self.opened(Forks(self._read_batch, self.workers))
        self._pending.append(self._forks.submit(*work))
        while len(self._pending) > AHEAD * self.workers:
            self._take_next()

    def _take_next(self) -> None:
        """Wait for the results of the oldest pending batch."""
        read: _BatchRead = result_of(self._pending.popleft())
        for name, passes in read.passes.items():
            self.attacks[name].passes.update(passes)
        self._take(read)

    def _take(self, read: _BatchRead) -> None:
        """Add the results of a batch."""
        read = read.without(self.failed)
        for name, reason in read.failed.items():
            if name not in self.failed:
                log.warning("attack %s skipped, since it failed: %s", name, reason)
                self.failed[name] = reason
                self._require_attacks()
        self.health.update(read.dead)
        for name in self.attacks.keys() - self.failed.keys():
            self.queries[name].update(read.images)
        self.progress.advance(read.images)
        self.writer.add(read.images, read.rows, self._state())

    def _read_batch(self, split: str, batch: Batch, logits: Tensor) -> _BatchRead:
        """Attack a batch and read it by each detector in each condition."""
        batch = self.aimed(batch, logits)
        before = {name: attack.passes.copy() for name, attack in self.attacks.items()}
        failed: dict[str, str] = {}
        conditions = list(self._conditions(batch, logits, failed))
        rows: dict[RunTable, list[pa.RecordBatch]] = {table: [] for table in self.writer.schemas}
        for condition in conditions[1:]:
            rounded = self.correct(self.logits(round_to_8_bits(condition.batch.image)), batch)
            rows[ATTACKS].append(attack_rows(split, condition, conditions[0], rounded))
        for name, detector in self.detectors.items():
            for condition in conditions:
                read = self._read(detector, condition.batch)
                rows[self.tables[name]].append(read_rows(split, condition, conditions[0], read))
        no_rows = {table: pa.RecordBatch.from_pylist([], schema) for table, schema in self.writer.schemas.items()}
        joined = {table: pa.concat_batches(batches or [no_rows[table]]) for table, batches in rows.items()}
        passes = {name: attack.passes - before[name] for name, attack in self.attacks.items()}
        return _BatchRead(len(batch.image), joined, dead_gradients(batch, self.classifier), passes, failed)

    def _state(self) -> dict[str, Any]:
        """State after all images so far, from which a later start resumes."""
        return {
            "health": saved_state(self.health),
            "queries": {name: saved_state(counted) for name, counted in self.queries.items()},
            "milliseconds": dict(self.milliseconds),
            "failed": dict(self.failed),
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        load_state(self.health, state["health"])
        for name, counted in self.queries.items():
            load_state(counted, state["queries"][name])
        self.milliseconds, self.failed = dict(state["milliseconds"]), dict(state["failed"])
        self._require_attacks()

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.lost and self.options.whole:
            raise ImagesLost(f"{self.tested} of {self.images} images were read for detection")
        while self._pending:
            self._take_next()
        self.close()
        self.writer.join()
        self.health.warn()
        self._warn_of_weak_attacks()
        DISPLAY.step("detector fits")
        reads = self.options.reads or self.folder
        fits = fit_detectors(reads, self.detectors, self.failed, self.protocol, self.workers)
        adaptive = self.options.adaptive(fits)
        write_scores(self.folder, fits, self.failed, self.protocol, adaptive, self.workers, reads)
        if self.options.reads is not None:
            return
        write_detection(self.folder, self.workers)
        if self.options.reference is not None:
            write_comparison(self.folder, self.options.reference, self.workers)
        super().on_test_epoch_end(trainer, pl_module)

    def numbers(self) -> dict[str, Tensor]:
        numbers = {}
        frame = read_detection(self.folder)
        single = preferred(frame[frame["attack"] != WHOLE_FAMILY])
        for row in pd.concat([single, unseen(frame)]).to_dict("records"):
            condition = row["attack"].replace(",", "").replace(" ", "_")
            condition = f"unseen_{row['family']}" if row["attack"] == WHOLE_FAMILY else condition
            condition += "" if np.isnan(row["eps"]) else f" {condition_name(row['eps'])}"
            for metric in HEADLINES:
                name = f"detection_{metric}/{row['detector']}/{condition}"
                numbers[name] = torch.tensor(row[metric], dtype=torch.float64)
        return numbers

    def _conditions(self, batch: Batch, logits: Tensor, failed: dict[str, str]) -> Iterator[Condition]:
        """Iterate over the batch's conditions, the clean one first; failed attacks are added to `failed`."""
        yield self.condition(CLEAN, 0.0, batch, logits)
        for name in [name for name in self.attacks if name not in self.failed]:
            attack = self.attacks[name]
            for eps in attack.eps:
                try:
                    attacked = batch._replace(image=attack(batch, self.classifier, eps))
                except Exception as error:  # whatever a foreign library raises: the other attacks go on
                    failed[name] = str(error) or type(error).__name__
                    break
                yield self.condition(name, eps, attacked, self.logits(attacked.image))

    def _require_attacks(self) -> None:
        if len(self.failed) == len(self.attacks):
            got = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise ValueError(f"detection needs an attack that runs, got failures alone ({got}). Choose other attacks.")

    def _warn_of_weak_attacks(self) -> None:
        rates = attack_rates(self.folder)
        others = rates[~rates["attack"].isin([*NOISES, TOGETHER, *self.failed])]
        strongest = others.groupby("attack", sort=False)["success"].max()
        if len(weak := strongest[strongest < WEAK]):
            rates_text = ", ".join(f"{name} {100 * success:.1f}%" for name, success in weak.items())
            log.warning(
                "attacks that succeed on less than %.0f%% of the images that are right when clean, at every eps (%s): "
                "the numbers of their detection rest on these alone. Raise their eps or steps, or leave them out.",
                100 * WEAK,
                rates_text,
            )

    @torch.no_grad()
    def _read(self, detector: Detector, batch: Batch) -> Tensor:
        return detector.read(batch, self.classifier, self.options.with_autoencoder).detach().float().cpu()

    def _measure_costs(self, batch: Batch) -> None:
        """Time each detector per image, unless known; after a first read."""
        for name, detector in self.detectors.items() if not self.milliseconds else ():
            self._read(detector, batch.rows([0]))
            copy = batch._replace(image=batch.image.clone())  # of which no detector remembers anything
            started = time.perf_counter()
            self._read(detector, copy)
            self.milliseconds[name] = 1000 * (time.perf_counter() - started) / len(batch.image)
