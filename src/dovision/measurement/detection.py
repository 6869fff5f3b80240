"""The callback that reads detectors on validation and test images, clean and in each adversarial condition."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from dovision.io.progress import DISPLAY
from dovision.io.signals import PartialRun
from dovision.io.text_files import make_folder
from dovision.measurement.by_name import Named, named_components
from dovision.measurement.callback import Evaluation
from dovision.measurement.condition import Condition, attack_rows, read_rows
from dovision.measurement.detector_fits import FOR_THRESHOLDS, Fitted, fit_detectors, hash_fraction, write_scores
from dovision.measurement.fit_protocol import conditions_of, fit_protocol
from dovision.measurement.gradient_health import (
    count_dead_gradients,
    count_passes,
    dead_gradient_share,
    queries,
    warn_of_dead_gradients,
)
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
from dovision.results.resumable_writer import NO_RESUME, Merge, Resume
from dovision.results.tables import CLEAN, RunTable
from dovision.types import Batch, Task

log = logging.getLogger(__name__)
DETECTION_SPLITS = (VAL, TEST)  # in the order of the dataloaders
WEAK = 0.05  # share of the images that were right on which an attack succeeds; below it, it is warned of


@dataclass(frozen=True)
class DetectionOptions:
    """Options of `Detection` besides attacks, detectors and the classifier.

    Args:
        families: attacks by family; an attack in none is a family of its own name. Supervised detectors are fitted to
            each family, to all, and to all but each.
        seen: by attack, those of its epsilons that detectors are fitted to; all of them if it is not there.
        controls: whether supervised detectors are fitted to permuted labels as well, and the sum of the features of
            monotone ones is a score.
        reference: the detector that the others are compared with in comparison.parquet, by name; None: no comparison.
        adaptive: gives rows of scores.parquet of an attacker who knows the detectors, from how they were fitted.
        whole: whether it is an error if some images of the dataloaders are not tested.
        attacked_share: of the images of val that detectors may be fitted to, and of those of test. The others of val
            are left out, and the others of test and those of thresholds are read as they are. None: all are attacked.
        resume: finished rows of earlier starts.
        reads: run directory whose reads detectors are fitted to and scored on, where the dataloaders have a share of
            the images alone; of which no summary is made. None: this one.

    Example:
        >>> import dovision as dv
        >>> dv.DetectionOptions(reference="max_softmax").reference
        'max_softmax'
    """

    families: Mapping[str, Sequence[str]] | None = None
    seen: Mapping[str, Sequence[float]] | None = None
    controls: bool = False
    reference: str | None = None
    adaptive: Callable[[Sequence[Fitted]], Iterable[pa.RecordBatch | pa.Table]] = lambda fits: ()
    whole: bool = False
    attacked_share: Mapping[str, float] | None = None
    resume: Resume = NO_RESUME
    reads: Path | None = None


class Detection(Evaluation):
    """Attack the images of two dataloaders, val and test, read them by each detector, and score test images.

    Detectors are fitted to images of val, and the headline numbers of detection.parquet are logged as
    "detection_METRIC/DETECTOR/ATTACK eps=EPSILON", such as "detection_auroc/max_softmax/pgd eps=0.1", and, of families
    that a detector was not fitted to, "detection_METRIC/DETECTOR/unseen_FAMILY".

    Args:
        folder: the run directory; attacks.parquet, a table a detector, scores.parquet and detection.parquet are
            written there. None: the trainer's `log_dir`.
        attacks: by name, each with its epsilons, or names of those in `conf/attack`.
        detectors: by name, or names of those in `conf/detector`; they stay as they are.
        classifier, task, mean, std, network: of the classifier under attack, as of `Evaluation`.
        options: what detectors are fitted to and compared with.

    Example:
        >>> import tempfile
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> attacks, detectors = {"fgsm": dv.FGSM(eps=0.1)}, {"entropy": dv.Entropy()}
        >>> callback = dv.Detection(tempfile.mkdtemp(), attacks, detectors, classifier)
        >>> callback.dataloaders
        2
    """

    name = "detection"
    dataloaders = 2
    row_group = READS_ROW_GROUP

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
        self.options = options = DetectionOptions() if options is None else options
        super().__init__(classifier, task, mean, std, network, folder, options.resume)
        self.attacks = conditions_of(named_components("attack", attacks))
        self.detectors: dict[str, Detector] = named_components("detector", detectors)
        if options.reference is not None:
            checks.choice("reference", options.reference, self.detectors)
        epsilons = {name: attack.eps for name, attack in self.attacks.items()}
        norms = {name: attack.norm for name, attack in self.attacks.items() if attack.norm != "linf"}
        self.protocol = fit_protocol(epsilons, options.families, options.seen, options.controls)._replace(norms=norms)
        self.tables_of_reads = {name: READS.named(name) for name in self.detectors}
        self.milliseconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}  # attacks that are left out from their first error on, with the reason

    @property
    def record(self) -> dict[str, Any]:
        """Entries of run.json: passes and milliseconds per detector, passes and errors per attack, dead gradients."""
        costs = {
            name: {"passes": self.detectors[name].passes, "milliseconds": round(milliseconds, 3)}
            for name, milliseconds in self.milliseconds.items()
        }
        return {
            "detector_costs": costs,
            "condition_queries": {
                name: queries(self.counters, name, made)
                for name, made in self.attacks.items()
                if name not in self.failed
            },
            "failed_attacks": self.failed,
            "condition_dead_gradients": dead_gradient_share(self.counters),
        }

    def begin(self, trainer: pl.Trainer, dataloaders: Any) -> None:
        if trainer.world_size > 1:
            raise ValueError(f"Detection needs one device, got {trainer.world_size}. Set devices=1.")
        super().begin(trainer, dataloaders)

    def start(self, batch: Batch) -> None:
        for network in self.classifier.coded:
            network.to(self.device).eval()
        make_folder(self.folder / READS_FOLDER, setting="output_root")
        for detector in self.detectors.values():  # which know their passes, and what they read, by a first image
            self._read(detector, batch.rows([0]))

    def tables(self) -> dict[RunTable, pa.Schema]:
        return {table: table.schema() for table in (ATTACKS, *self.tables_of_reads.values())}

    def merges(self) -> dict[RunTable, Merge]:
        return dict.fromkeys(self.tables(), self._without_failed)

    def state(self) -> dict[str, Any]:
        return {"milliseconds": dict(self.milliseconds), "failed": dict(self.failed)}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.milliseconds, self.failed = dict(state["milliseconds"]), dict(state.get("failed", {}))

    def rows(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> dict[RunTable, pa.RecordBatch]:
        split, batch = DETECTION_SPLITS[dataloader_idx], self.aimed(batch, logits)
        self._measure_costs(batch)
        rows: dict[RunTable, list[pa.RecordBatch]] = {table: [] for table in self.tables()}
        for numbers, attacks in self._attacked(split, batch.group):
            images, before = batch.rows(numbers), {name: attack.passes.copy() for name, attack in attacks.items()}
            clean, *attacked = self._conditions(images, logits[numbers], attacks)
            for condition in attacked:
                rows[ATTACKS].append(attack_rows(split, condition, clean, self.correct_at_8_bits(condition)))
            for name, table in self.tables_of_reads.items():
                conditions = (clean, *attacked)
                reads = torch.stack([self._read(self.detectors[name], condition.batch) for condition in conditions])
                pairs = zip(conditions, reads.cpu(), strict=True)
                rows[table] += [read_rows(split, condition, clean, read) for condition, read in pairs]
            for name, attack in attacks.items():
                count_passes(self.counters, name, attack.passes - before[name], len(numbers))
        count_dead_gradients(self.counters, dead_gradients(batch, self.classifier))
        self.progress.advance(len(batch.image))
        schemas = self.tables()
        return {
            table: pa.concat_batches(batches or [pa.RecordBatch.from_pylist([], schema=schemas[table])])
            for table, batches in rows.items()
        }

    def _attacked(self, split: str, group: Tensor) -> Iterator[tuple[list[int], Mapping[str, Attack]]]:
        """Iterate over numbers of images, those that are attacked and those that are not, with the attacks."""
        share = (self.options.attacked_share or {}).get(split, 1.0)
        fraction = hash_fraction(pd.Series(group.tolist())).to_numpy()
        start = FOR_THRESHOLDS if split == VAL and share < 1 else 0.0
        attacked = (fraction >= start) & (fraction < start + share * (1 - start))
        clean = fraction < start if split == VAL else ~attacked
        for images, attacks in ((attacked, self.attacks), (clean & (share < 1), {})):
            if images.any():
                yield np.flatnonzero(images).tolist(), attacks

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.lost and self.options.whole:
            raise PartialRun(f"{self.tested} of {self.images} images were read for detection")
        super().on_test_epoch_end(trainer, pl_module)

    def _without_failed(self, tables: Callable[[None], Iterator[pa.Table]], schema: pa.Schema) -> Iterator[pa.Table]:
        """Rows of the attacks that ran on every image."""
        failed = pa.array(self.failed, pa.string())
        for rows in tables(None):
            yield rows.filter(pc.invert(pc.is_in(rows["attack"].cast(pa.string()), failed))) if self.failed else rows

    def finish(self) -> None:
        if self.failed:
            shutil.rmtree(self.writer.folder, ignore_errors=True)  # so that the next start tries them again
        warn_of_dead_gradients(self.counters)
        self._warn_of_weak_attacks()
        DISPLAY.step("detector fits")
        reads = self.options.reads or self.folder
        fits = fit_detectors(reads, self.detectors, self.protocol)
        write_scores(self.folder, fits, self.protocol, self.options.adaptive(fits), reads)
        if self.options.reads is not None:
            return
        write_detection(self.folder)
        if self.options.reference is not None:
            write_comparison(self.folder, self.options.reference)

    def numbers(self) -> dict[str, float]:
        if self.options.reads is not None:
            return {}
        numbers = {}
        frame = read_detection(self.folder)
        single = preferred(frame[frame["attack"] != WHOLE_FAMILY])
        for row in pd.concat([single, unseen(frame)]).to_dict("records"):
            condition = row["attack"].replace(",", "").replace(" ", "_")
            condition = f"unseen_{row['family']}" if row["attack"] == WHOLE_FAMILY else condition
            condition += "" if np.isnan(row["eps"]) else f" {condition_name(row['eps'])}"
            for metric in HEADLINES:
                numbers[f"detection_{metric}/{row['detector']}/{condition}"] = row[metric]
        return numbers

    def _conditions(self, batch: Batch, logits: Tensor, attacks: Mapping[str, Attack]) -> Iterator[Condition]:
        """Iterate over the batch's conditions, the clean one first, without those of attacks that have failed.

        Raises:
            ValueError: every attack has failed.
        """
        yield self.condition(CLEAN, 0.0, batch, logits)
        for name, attack in ((name, attack) for name, attack in attacks.items() if name not in self.failed):
            for eps in attack.eps:
                try:
                    attacked = batch._replace(image=attack(batch, self.classifier, eps))
                except Exception as error:  # whatever a foreign library raises: the others are measured
                    self.failed[name] = f"{type(error).__name__} at eps={eps:g}: {error}"
                    log.exception("left out of detection: attack %s: %s", name, self.failed[name])
                    if len(self.failed) == len(self.attacks):
                        got = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
                        raise ValueError(
                            f"detection needs an attack that runs, got errors alone ({got}). Choose other attacks."
                        ) from error
                    break
                yield self.condition(name, eps, attacked, self.logits(attacked.image))

    def _warn_of_weak_attacks(self) -> None:
        rates = attack_rates(self.folder)
        others = rates[~rates["attack"].isin([*NOISES, TOGETHER])]
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
        return detector.read(batch, self.classifier).detach().float()

    def _measure_costs(self, batch: Batch) -> None:
        """Time each detector per image, unless known."""
        for name, detector in self.detectors.items() if not self.milliseconds else ():
            copy = batch._replace(image=batch.image.clone())  # of which no detector remembers anything
            started = time.perf_counter()
            self._read(detector, copy).cpu()
            self.milliseconds[name] = 1000 * (time.perf_counter() - started) / len(batch.image)
